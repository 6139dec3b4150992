cwlVersion: v1.2
class: CommandLineTool
label: Select the days
doc: Keeps the days from the first to the last.

requirements:
  EnvVarRequirement:
    envDef:
      LC_ALL: C

inputs:
  first_day:
    type: string
    label: First day
    inputBinding: {prefix: first=, separate: false, position: 1}
  last_day:
    type: string
    label: Last day
    inputBinding: {prefix: last=, separate: false, position: 2}
  temperatures:
    type: File
    label: Temperatures
    inputBinding: {position: 3}

baseCommand: [awk, "-F,", "NR == 1 || ($1 >= first && $1 <= last)"]
stdout: selected.csv

outputs:
  selected:
    type: stdout
    label: Selected days
