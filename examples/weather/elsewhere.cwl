cwlVersion: v1.2
class: Workflow
label: Rain in two cities, from files elsewhere
doc: |
  The same question as main.cwl, asked of one file for each city and year, which may lie elsewhere: every
  year is summarised as soon as its own file is here.

requirements:
  MultipleInputFeatureRequirement: {}
  ScatterFeatureRequirement: {}
  StepInputExpressionRequirement: {}
  SubworkflowFeatureRequirement: {}

inputs:
  observations:
    type: File[]
    label: Observations
    doc: "Daily observations of one city and year in each file: CSV with location, date, precipitation (mm), temp_max and temp_min (°C)."
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
  year:
    label: Each city and year
    scatter: observations
    in:
      observations: observations
      wet_day: wet_day
      long_dry_spell: long_dry_spell
    out: [months, totals, dry_spell_report]
    run:
      class: Workflow
      requirements:
        StepInputExpressionRequirement: {}
        SubworkflowFeatureRequirement: {}
      inputs:
        observations: File
        wet_day: float
        long_dry_spell: int
      steps:
        check:
          label: Check the observations
          run: tools/check.cwl
          in:
            observations: observations
          out: [checked]
        split:
          label: Name it by city and year
          run: tools/split.cwl
          in:
            checked: check/checked
          out: [days]
        summary:
          label: Summarise the year
          run: city-year.cwl
          in:
            days:
              source: split/days
              valueFrom: $(self[0])
            wet_day: wet_day
            long_dry_spell: long_dry_spell
          out: [months, totals, dry_spell_report]
      outputs:
        months:
          type: File
          outputSource: summary/months
        totals:
          type: File
          outputSource: summary/totals
        dry_spell_report:
          type: File?
          outputSource: summary/dry_spell_report

  merge:
    label: Merge the monthly tables
    run: tools/merge.cwl
    in:
      tables: year/months
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
      totals: year/totals
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
    outputSource: [year/dry_spell_report]
    linkMerge: merge_flattened
    pickValue: all_non_null
