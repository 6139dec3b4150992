cwlVersion: v1.2
class: CommandLineTool
label: Average each day
doc: The mean of a day is halfway between its highest and its lowest temperature.

requirements:
  EnvVarRequirement:
    envDef:
      LC_ALL: C

inputs:
  temperatures:
    type: File
    label: Temperatures
    inputBinding: {position: 1}

baseCommand: [awk, "-F,", 'NR == 1 { print "date,mean"; next } { printf "%s,%.2f\n", $1, ($2 + $3) / 2 }']
stdout: means.csv

outputs:
  means:
    type: stdout
    label: Daily means
    doc: CSV with date and mean (°C).
