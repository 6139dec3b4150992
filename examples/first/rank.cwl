cwlVersion: v1.2
class: CommandLineTool
label: Rank the words
doc: Keeps the most frequent words; words with the same count stand in alphabetical order.

requirements:
  EnvVarRequirement:
    envDef:
      LC_ALL: C

inputs:
  counts:
    type: File
    label: Counts
    inputBinding: {position: 1}
  how_many:
    type: int
    label: How many
    inputBinding: {position: 2}

baseCommand: [sh, -c]
arguments:
  - |
    head -n 1 "$1"
    tail -n +2 "$1" | sort -t , -k 2,2nr -k 1,1 | head -n "$2"
  - rank
stdout: ranking.csv

outputs:
  ranking:
    type: stdout
    label: Ranking
    doc: The most frequent words with their counts.
