cwlVersion: v1.2
class: Workflow
label: Rain in two cities
doc: |
  Where does it rain more, in Seattle or in New York? Checks the daily observations, summarises
  every year of every city by itself, and puts the answer together: a table, a chart, a sentence,
  and a report on each year that had a long dry spell.

requirements:
  InlineJavascriptRequirement: {}
  MultipleInputFeatureRequirement: {}
  ScatterFeatureRequirement: {}
  SubworkflowFeatureRequirement: {}

inputs:
  observations:
    type: File
    label: Observations
    doc: "Daily observations, one row a day and city: CSV with location, date, precipitation (mm), temp_max and temp_min (°C)."
  wet_day:
    type: float
    default: 1.0
    label: Wet day
    doc: The precipitation, in millimetres, from which a day counts as wet.
  long_dry_spell:
    type: int
    default: 30
    label: Long dry spell
    doc: A year with this many days in a row that are not wet gets a report.

steps:
  check:
    label: Check the observations
    run: tools/check.cwl
    in:
      observations: observations
    out: [checked]

  split:
    label: Split by city and year
    run: tools/split.cwl
    in:
      checked: check/checked
    out: [days]

  city_year:
    label: Each city and year
    run: city-year.cwl
    scatter: days
    in:
      days: split/days
      wet_day: wet_day
      long_dry_spell: long_dry_spell
    out: [months, totals, dry_spell_report]

  merge:
    label: Merge the monthly tables
    run: tools/merge.cwl
    in:
      tables: city_year/months
    out: [merged]

  draw:
    label: Draw the chart
    run: tools/draw.cwl
    in:
      months: merge/merged
      wet_day: wet_day
    out: [chart]

  compare:
    label: Compare the cities
    run: tools/compare.cwl
    in:
      totals: city_year/totals
    out: [answer]

outputs:
  months:
    type: File
    label: Monthly table
    doc: Precipitation, wet days and mean temperature of every month of every city.
    outputSource: merge/merged
  chart:
    type: File
    label: Chart
    doc: Precipitation and wet days by month, city beside city (SVG).
    outputSource: draw/chart
  answer:
    type: string
    label: Answer
    doc: Which city has more precipitation, and on how many days it falls.
    outputSource: compare/answer
  dry_spell_reports:
    type: File[]
    label: Dry spell reports
    doc: One report for each year that had a long dry spell.
    outputSource: [city_year/dry_spell_report]
    linkMerge: merge_flattened
    pickValue: all_non_null
