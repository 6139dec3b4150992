cwlVersion: v1.2
class: CommandLineTool
label: Split by city and year
doc: Writes the days of each city and year to a table of their own, such as new-york-2012.csv.

requirements:
  EnvVarRequirement:
    envDef:
      LC_ALL: C

inputs:
  script:
    type: File
    label: Script
    default:
      class: File
      location: ../scripts/split.awk
    inputBinding: {prefix: -f, position: 1}
  checked:
    type: File
    label: Checked observations
    inputBinding: {position: 2}

baseCommand: awk

outputs:
  days:
    type: File[]
    label: Days
    doc: One table for each city and year, in order of their names.
    outputBinding:
      glob: "*.csv"
