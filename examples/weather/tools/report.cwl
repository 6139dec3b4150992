cwlVersion: v1.2
class: CommandLineTool
label: Report on the dry spells
doc: Tells of the longest dry spell of one city and year, and lists the next ones.

inputs:
  script:
    type: File
    label: Script
    default:
      class: File
      location: ../scripts/report.py
    inputBinding: {position: 1}
  dry_spells:
    type: File
    label: Dry spells
    inputBinding: {position: 2}
  wet_day:
    type: float
    label: Wet day
    doc: The precipitation, in millimetres, from which a day counts as wet.
    inputBinding: {position: 3}

baseCommand: python3
arguments:
  - valueFrom: $(inputs.dry_spells.nameroot).txt
    position: 4

outputs:
  report:
    type: File
    label: Dry spell report
    outputBinding:
      glob: $(inputs.dry_spells.nameroot).txt
