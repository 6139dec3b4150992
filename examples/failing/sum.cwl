cwlVersion: v1.2
class: CommandLineTool
label: Sum the degree days
doc: Adds up the degrees that each daily mean lies below the base temperature.

requirements:
  EnvVarRequirement:
    envDef:
      LC_ALL: C

inputs:
  base:
    type: float
    label: Base temperature
    inputBinding: {prefix: base=, separate: false, position: 1}
  means:
    type: File
    label: Daily means
    inputBinding: {position: 2}

baseCommand:
  - awk
  - "-F,"
  - 'NR > 1 && $2 < base { sum += base - $2 } END { printf "days,degree_days\n%d,%.1f\n", NR - 1, sum }'
stdout: degree-days.csv

outputs:
  degree_days:
    type: stdout
    label: Heating degree days
