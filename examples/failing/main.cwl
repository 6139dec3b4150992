cwlVersion: v1.2
class: Workflow
label: Heating degree days
doc: |
  How much heating did a winter ask for? One reading of the temperatures is missing and stands there
  as -999.9, so the third step refuses the table and the run fails.

inputs:
  temperatures:
    type: File
    label: Temperatures
    doc: "One row a day: CSV with date, temp_max and temp_min (°C)."
  first_day:
    type: string
    label: First day
    doc: Such as 2014-01-01.
  last_day:
    type: string
    label: Last day
    doc: Such as 2014-03-31.
  base:
    type: float
    default: 18.0
    label: Base temperature
    doc: Below this daily mean (°C) a house is heated.

steps:
  select:
    label: Select the days
    run: select.cwl
    in:
      temperatures: temperatures
      first_day: first_day
      last_day: last_day
    out: [selected]

  average:
    label: Average each day
    run: average.cwl
    in:
      temperatures: select/selected
    out: [means]

  check:
    label: Check the means
    run: check.cwl
    in:
      means: average/means
    out: [checked]

  sum:
    label: Sum the degree days
    run: sum.cwl
    in:
      means: check/checked
      base: base
    out: [degree_days]

outputs:
  degree_days:
    type: File
    label: Heating degree days
    doc: The sum over all days of the degrees that the daily mean lies below the base temperature.
    outputSource: sum/degree_days
