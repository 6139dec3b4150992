cwlVersion: v1.2
class: ExpressionTool
label: Compare the cities
doc: Compares the yearly means of the cities and says it in a sentence or two.

requirements:
  InlineJavascriptRequirement: {}

inputs:
  totals:
    type: File[]
    loadContents: true
    label: Totals of the years

outputs:
  answer:
    type: string
    label: Answer

expression: |
  ${
    var cities = {};
    inputs.totals.forEach(function (file) {
      var year = JSON.parse(file.contents);
      var city = cities[year.city] ||
        { name: year.city, years: 0, tenths: 0, wetDays: 0, longestDrySpell: 0 };
      city.years += 1;
      city.tenths += Math.round(10 * year.precipitation_mm);
      city.wetDays += year.wet_days;
      city.longestDrySpell = Math.max(city.longestDrySpell, year.longest_dry_spell);
      cities[year.city] = city;
    });

    var ranked = Object.keys(cities).map(function (name) { return cities[name]; });
    ranked.sort(function (a, b) {
      return b.tenths / b.years - a.tenths / a.years || (a.name < b.name ? -1 : 1);
    });

    var sentences = ranked.map(function (city) {
      return city.name + " has " + Math.round(city.tenths / 10 / city.years) +
        " mm of precipitation a year, on " + Math.round(city.wetDays / city.years) +
        " wet days; its longest dry spell lasted " + city.longestDrySpell + " days.";
    });
    return { answer: sentences.join(" ") };
  }
