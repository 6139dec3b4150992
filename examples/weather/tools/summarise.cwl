cwlVersion: v1.2
class: CommandLineTool
label: Summarise the year
doc: Sums up the months of one city and year, and finds its dry spells.

requirements:
  InlineJavascriptRequirement: {}

inputs:
  script:
    type: File
    label: Script
    default:
      class: File
      location: ../scripts/summarise.py
    inputBinding: {position: 1}
  days:
    type: File
    label: Days
    inputBinding: {position: 2}
  wet_day:
    type: float
    label: Wet day
    doc: The precipitation, in millimetres, from which a day counts as wet.
    inputBinding: {position: 3}

baseCommand: python3
arguments:
  - valueFrom: $(inputs.days.nameroot)
    position: 4

outputs:
  months:
    type: File
    label: Monthly table
    outputBinding:
      glob: $(inputs.days.nameroot)-months.csv
  dry_spells:
    type: File
    label: Dry spells
    doc: Every dry spell of the year with its first and last day.
    outputBinding:
      glob: $(inputs.days.nameroot)-dry-spells.csv
  totals:
    type: File
    label: Totals of the year
    outputBinding:
      glob: $(inputs.days.nameroot)-totals.json
  longest_dry_spell:
    type: int
    label: Longest dry spell
    doc: Its length in days.
    outputBinding:
      glob: $(inputs.days.nameroot)-totals.json
      loadContents: true
      outputEval: $(JSON.parse(self[0].contents).longest_dry_spell)
