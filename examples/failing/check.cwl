cwlVersion: v1.2
class: CommandLineTool
label: Check the means
doc: Passes the table on unchanged, or refuses it when a mean is not to be believed.

inputs:
  script:
    type: File
    label: Script
    default:
      class: File
      location: check.py
    inputBinding: {position: 1}
  means:
    type: File
    label: Daily means
    inputBinding: {position: 2}
  lowest:
    type: float
    default: -60.0
    label: Lowest
    doc: No daily mean (°C) is below this.
    inputBinding: {prefix: --lowest=, separate: false, position: 3}
  highest:
    type: float
    default: 50.0
    label: Highest
    doc: No daily mean (°C) is above this.
    inputBinding: {prefix: --highest=, separate: false, position: 4}

baseCommand: python3
stdout: checked.csv

outputs:
  checked:
    type: stdout
    label: Checked daily means
