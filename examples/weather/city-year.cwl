cwlVersion: v1.2
class: Workflow
label: One city, one year
doc: Summarises the days of one city and year, and reports on its dry spells if one of them was long.

requirements:
  InlineJavascriptRequirement: {}

inputs:
  days:
    type: File
    label: Days
    doc: The checked observations of one city and year.
  wet_day:
    type: float
    label: Wet day
    doc: The precipitation, in millimetres, from which a day counts as wet.
  long_dry_spell:
    type: int
    label: Long dry spell
    doc: A dry spell of this many days gets a report.

steps:
  summarise:
    label: Summarise the year
    run: tools/summarise.cwl
    in:
      days: days
      wet_day: wet_day
    out: [months, dry_spells, totals, longest_dry_spell]

  report:
    label: Report on the dry spells
    run: tools/report.cwl
    when: $(inputs.longest_dry_spell >= inputs.long_dry_spell)
    in:
      dry_spells: summarise/dry_spells
      wet_day: wet_day
      longest_dry_spell: summarise/longest_dry_spell
      long_dry_spell: long_dry_spell
    out: [report]

outputs:
  months:
    type: File
    label: Monthly table
    outputSource: summarise/months
  totals:
    type: File
    label: Totals of the year
    outputSource: summarise/totals
  dry_spell_report:
    type: File?
    label: Dry spell report
    doc: Nothing when the year had no long dry spell.
    outputSource: report/report
