cwlVersion: v1.2
class: CommandLineTool
label: Draw the chart
doc: Draws precipitation and wet days by month, city beside city, as SVG.

inputs:
  script:
    type: File
    label: Script
    default:
      class: File
      location: ../scripts/chart.py
    inputBinding: {position: 1}
  months:
    type: File
    label: Monthly table
    inputBinding: {position: 2}
  wet_day:
    type: float
    label: Wet day
    doc: The precipitation, in millimetres, from which a day counts as wet.
    inputBinding: {position: 3}

baseCommand: python3
arguments:
  - valueFrom: precipitation.svg
    position: 4

outputs:
  chart:
    type: File
    label: Chart
    outputBinding:
      glob: precipitation.svg
