cwlVersion: v1.2
class: CommandLineTool
label: Count the words
doc: Counts how often each word occurs. Capital and small letters are the same.

requirements:
  EnvVarRequirement:
    envDef:
      LC_ALL: C

inputs:
  text:
    type: File
    label: Text
    inputBinding: {position: 1}
  shortest:
    type: int
    label: Shortest word
    inputBinding: {position: 2}

baseCommand: [sh, -c]
arguments:
  - |
    echo word,count
    tr 'A-Z' 'a-z' < "$1" | tr -cs 'a-z' '\n' |
      awk -v shortest="$2" 'length($0) >= shortest' |
      sort | uniq -c | awk '{ print $2 "," $1 }'
  - count
stdout: counts.csv

outputs:
  counts:
    type: stdout
    label: Counts
    doc: Every word with its count, in alphabetical order.
