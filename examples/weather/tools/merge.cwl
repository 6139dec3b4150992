cwlVersion: v1.2
class: CommandLineTool
label: Merge the tables
doc: Puts tables with the same columns under one another; the header is kept once.

inputs:
  tables:
    type: File[]
    label: Tables
    inputBinding: {position: 1}

baseCommand: [awk, "FNR > 1 || NR == 1"]
stdout: months.csv

outputs:
  merged:
    type: stdout
    label: Merged table
