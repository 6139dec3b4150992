cwlVersion: v1.2
class: CommandLineTool
label: Check the observations
doc: |
  Refuses a table with missing, doubled or impossible days. What passes is written in order of city
  and date, with the columns that are needed and their units.

inputs:
  script:
    type: File
    label: Script
    default:
      class: File
      location: ../scripts/check.py
    inputBinding: {position: 1}
  observations:
    type: File
    label: Observations
    inputBinding: {position: 2}

baseCommand: python3
arguments:
  - valueFrom: checked.csv
    position: 3

outputs:
  checked:
    type: File
    label: Checked observations
    outputBinding:
      glob: checked.csv
