cwlVersion: v1.2
class: Workflow
label: Most frequent words
doc: Counts the words of a text, then lists the most frequent ones.

inputs:
  text:
    type: File
    label: Text
    doc: A plain text in English.
  shortest:
    type: int
    default: 4
    label: Shortest word
    doc: Words with fewer letters are not counted.
  how_many:
    type: int
    default: 10
    label: How many
    doc: The number of words to list.

steps:
  count:
    label: Count the words
    run: count.cwl
    in:
      text: text
      shortest: shortest
    out: [counts]

  rank:
    label: Rank them
    run: rank.cwl
    in:
      counts: count/counts
      how_many: how_many
    out: [ranking]

outputs:
  ranking:
    type: File
    label: Ranking
    doc: The most frequent words with their counts, the most frequent first.
    outputSource: rank/ranking
