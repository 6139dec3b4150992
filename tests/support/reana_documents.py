"""Documents that a shell's odds and ends can spoil, with inputs for them."""

from typing import Any

TOOL = """
cwlVersion: v1.2
class: CommandLineTool
"""
FLOW = """
cwlVersion: v1.2
class: Workflow
requirements:
  ScatterFeatureRequirement: {}
  SubworkflowFeatureRequirement: {}
  StepInputExpressionRequirement: {}
  MultipleInputFeatureRequirement: {}
  InlineJavascriptRequirement: {}
"""


def text(content: str, name: str = "in.txt") -> dict[str, Any]:
    return {"class": "File", "basename": name, "contents": content.encode()}


BESIDE = {
    "types.yml": b"""
- {name: color, type: enum, symbols: [red, green]}
- {name: pair, type: record, fields: [{name: a, type: string, inputBinding: {position: 1}}, {name: c, type: color, inputBinding: {position: 2}}]}
""",
    "pair.cwl": (
        TOOL
        + """
baseCommand: echo
inputs: {a: {type: string, inputBinding: {}}, b: {type: string, inputBinding: {}}}
stdout: o
outputs: {o: stdout}
"""
    ).encode(),
    "tool.cwl": (
        TOOL
        + """
requirements: {SchemaDefRequirement: {types: [{$import: types.yml}]}}
baseCommand: echo
inputs: {p: "types.yml#pair", q: {type: "types.yml#color?", default: green, inputBinding: {position: 3}}}
stdout: o
outputs: {o: stdout}
"""
    ).encode(),
}
"""Files that lie beside each document."""
SAME: dict[str, tuple[str, Any]] = {
    "arguments-with-every-character": (
        TOOL
        + r"""
baseCommand: [printf, "%s|"]
arguments: ["a b", "it's", '"', "$HOME", "`id`", "*", ";", "back\\slash", "", "#", "a\nb"]
inputs: {w: {type: string, inputBinding: {position: 1}}}
stdout: out.txt
outputs: {o: stdout}
""",
        {"w": "$(touch x) \\ 'q' \"d\" é"},
    ),
    "a-shell-of-its-own": (
        TOOL
        + r"""
requirements: {ShellCommandRequirement: {}}
arguments:
  - {valueFrom: "echo \"it's `echo sub`\" | tr s S # not a comment of ours\n", shellQuote: false}
  - {valueFrom: "cat <<'X'\n} ) ' `\nX\n", shellQuote: false}
  - {valueFrom: "/bin/sh -c 'cd /tmp/ && cd /tmp/../tmp/. && pwd'; (exit 3) || exec echo", shellQuote: false}
  - $(inputs.w)
inputs: {w: string}
stdout: out.txt
outputs: {o: stdout}
""",
        {"w": "a'b"},
    ),
    "sh-as-the-command": (
        TOOL
        + """
baseCommand: [/bin/sh, -c]
arguments: ['echo "$0" "$@"; pwd >/dev/null; cd /tmp/ && cd /tmp/../tmp/. && echo in; cat', one, "two three", /tmp/x/y/z]
inputs: {f: File}
stdin: $(inputs.f.path)
stdout: out.txt
outputs: {o: stdout}
""",
        {"f": text("first\nsecond\n")},
    ),
    "three-streams": (
        TOOL
        + """
baseCommand: [sh, -c, "cat; echo err >&2"]
inputs: {f: stdin}
stdout: deep/er/out.txt
stderr: err $(inputs.f.nameroot).txt
outputs: {o: stdout, e: stderr}
""",
        {"f": text("words")},
    ),
    "unnamed-streams": (
        TOOL
        + """
baseCommand: [sh, -c, "echo a; echo b >&2"]
inputs: []
outputs: {o: stdout, e: stderr}
""",
        {},
    ),
    "environment": (
        TOOL
        + r"""
requirements:
  EnvVarRequirement:
    envDef:
      PLAIN: "a \"quoted\" $HOME `id` \\ it's\nnext"
      GIVEN: $(inputs.w)
      odd-name.1: "x=y"
baseCommand: [sh, -c, 'printf "%s|%s|" "$PLAIN" "$GIVEN"; env | grep -a ^odd; [ "$HOME" = "$PWD" ] && echo home; [ -d "$TMPDIR" ] && echo tmp']
inputs: {w: string}
stdout: out.txt
outputs: {o: stdout}
""",
        {"w": "$(x) \"y\" 'z'"},
    ),
    "environment-from-above": (
        FLOW
        + """
inputs: {w: string}
outputs: {o: {type: File, outputSource: s/o}, p: {type: File, outputSource: t/o}}
hints: {EnvVarRequirement: {envDef: {V: hint}}}
steps:
  s:
    requirements: {EnvVarRequirement: {envDef: {V: "step $(inputs.w)"}}}
    in: {w: w}
    out: [o]
    run: &tool
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo "$V"']
      inputs: {w: string}
      stdout: s.txt
      outputs: {o: stdout}
  t: {in: {w: w}, out: [o], run: *tool}
""",
        {"w": "given"},
    ),
    "texts-laid-down": (
        TOOL
        + r"""
requirements:
  InlineJavascriptRequirement: {}
  InitialWorkDirRequirement:
    listing:
      - {entryname: run.sh, entry: "  #!/bin/sh\necho \"it's \\$(id) $(inputs.w)\"\n\n"}
      - {entryname: "$(inputs.w).txt", entry: "no expression at all\n"}
      - {entryname: n.json, entry: "$({a: inputs.n, b: [1, 2]})"}
      - {entryname: w.txt, entry: $(inputs.w)}
      - {entryname: none.txt, entry: $(inputs.none)}
      - {entryname: sub/deep.txt, entry: ""}
      - {class: Directory, basename: empty, listing: []}
baseCommand: [sh, -c, 'cat run.sh n.json w.txt *.txt; ls -d sub/* empty none.txt 2>/dev/null; true']
inputs: {w: string, n: int, none: string?}
stdout: ../out.txt
outputs: {o: {type: "File[]", outputBinding: {glob: "*.json"}}, p: {type: File, outputBinding: {glob: run.sh}}, all: {type: "File[]", outputBinding: {glob: ["*.txt", "sub/*"]}}}
""".replace("stdout: ../out.txt\n", ""),
        {"w": "x'y", "n": 3, "none": None},
    ),
    "inputs-laid-down": (
        TOOL
        + """
requirements:
  InitialWorkDirRequirement:
    listing:
      - $(inputs.f)
      - {entry: $(inputs.g), entryname: other.txt}
      - $(inputs.many)
baseCommand: [sh, -c, 'cat in.txt other.txt a.txt b.txt; echo "$@" | sed "s#/[^ ]*/##g"', x]
arguments: [$(inputs.f.path), $(inputs.g.basename), $(inputs.g.path)]
inputs: {f: File, g: File, many: "File[]"}
stdout: out.txt
outputs: {o: stdout, staged: {type: File, outputBinding: {glob: other.txt}}}
""",
        {"f": text("1"), "g": text("2", "g.txt"), "many": [text("3", "a.txt"), text("4", "b.txt")]},
    ),
    "inputs-laid-down-to-be-changed": (
        TOOL
        + """
requirements:
  InitialWorkDirRequirement: {listing: [{entry: $(inputs.f), writable: true, entryname: mine.txt}]}
baseCommand: [sh, -c, 'echo more >>mine.txt; echo again >>"$0"']
arguments: [$(inputs.f.path)]
inputs: {f: File}
outputs: {o: {type: File, outputBinding: {glob: mine.txt}}}
""",
        {"f": text("1\n")},
    ),
    "the-places-of-the-job": (
        TOOL
        + """
requirements: {InlineJavascriptRequirement: {}}
baseCommand: [sh, -c, 'echo x >"$0/a.txt"; echo y >"$1" ; echo t >"$2/t" && cat "$2/t" >c.txt']
arguments: [$(runtime.outdir), '${return runtime.outdir + "/b.txt";}', $(runtime.tmpdir)]
inputs: []
outputs: {o: {type: "File[]", outputBinding: {glob: $(runtime.outdir)/*.txt}}}
""",
        {},
    ),
    "odd-names": (
        TOOL
        + """
baseCommand: [sh, -c, 'mkdir "d #%[x]é"; for n in "a b" "c#d" "e%41" "f[1]" "é" "-n" "q\\"q" ".hidden"; do echo "$n" >"./d #%[x]é/$n"; echo "$n" >"./$n"; done']
inputs: []
outputs:
  o: {type: "File[]", outputBinding: {glob: ["a b", "c#d", "e%41", "é", "-n", ".hidden"]}}
  d: {type: Directory, outputBinding: {glob: "d*"}}
""",
        {},
    ),
    "links": (
        TOOL
        + """
baseCommand: [sh, -c, 'mkdir real; echo x >real/f; ln -s real/f near; ln -s "$0" given; ln -s real folder']
arguments: [$(inputs.f.path)]
inputs: {f: File}
outputs: {o: {type: "File[]", outputBinding: {glob: [near, real/f]}}}
""",
        {"f": text("given")},
    ),
    "nothing-left": (TOOL + "baseCommand: 'true'\ninputs: []\noutputs: []\n", {}),
    "output-object-of-its-own": (
        TOOL
        + """
baseCommand: [sh, -c, 'echo x >f; printf "{\\"o\\": {\\"class\\": \\"File\\", \\"path\\": \\"%s/f\\"}, \\"n\\": 3}" "$PWD" >cwl.output.json']
inputs: []
outputs: {o: File, n: int}
""",
        {},
    ),
    "exit-seven": (
        TOOL
        + "baseCommand: [sh, -c, 'echo x >f; exit 7']\ninputs: []\noutputs: {o: {type: File, outputBinding: {glob: f}}}\n",
        {},
    ),
    "exit-seven-is-a-success": (
        TOOL
        + "baseCommand: [sh, -c, 'echo x >f; exit 7']\nsuccessCodes: [7]\ninputs: []\n"
        + "outputs: {o: {type: File, outputBinding: {glob: f}}}\n",
        {},
    ),
    "exit-zero-is-a-failure": (
        TOOL + "baseCommand: 'true'\npermanentFailCodes: [0]\ninputs: []\noutputs: []\n",
        {},
    ),
    "no-such-program": (TOOL + "baseCommand: there-is-no-such-program\ninputs: []\noutputs: []\n", {}),
    "over-time": (
        TOOL + "requirements: {ToolTimeLimit: {timelimit: 1}}\nbaseCommand: [sleep, '30']\ninputs: []\noutputs: []\n",
        {},
    ),
    "in-time": (
        TOOL
        + "requirements: {ToolTimeLimit: {timelimit: $(inputs.n)}}\nbaseCommand: [cat]\nstdin: $(inputs.f.path)\n"
        + "inputs: {n: int, f: File}\nstdout: o\noutputs: {o: stdout}\n",
        {"n": 20, "f": text("read")},
    ),
    "scatter-of-one-name": (
        FLOW
        + """
inputs: {n: "int[]"}
outputs: {o: {type: "File[]", outputSource: square/o}}
steps:
  square:
    scatter: n
    in: {n: n}
    out: [o]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'sleep 0.$((3 - $0)); echo $(($0 * $0)) >r.txt']
      arguments: [$(inputs.n)]
      inputs: {n: int}
      outputs: {o: {type: File, outputBinding: {glob: "*.txt"}}}
""",
        {"n": [1, 2, 3]},
    ),
    "files-of-other-steps": (
        FLOW
        + """
inputs: []
outputs: {o: {type: "File[]", outputSource: second/o}}
steps:
  first: {in: [], out: [o], run: {class: CommandLineTool, baseCommand: [touch, a.txt], inputs: [], outputs: {o: {type: File, outputBinding: {glob: a.txt}}}}}
  second:
    in: {f: first/o}
    out: [o]
    run: {class: CommandLineTool, baseCommand: [touch, b.txt], inputs: {f: File}, outputs: {o: {type: "File[]", outputBinding: {glob: "*.txt"}}}}
""",
        {},
    ),
    "nested-and-named-like-numbers": (
        FLOW
        + """
inputs: {names: "string[]", counts: "int[]"}
outputs: {o: {type: {type: array, items: {type: array, items: File}}, outputSource: outer_2/o}}
steps:
  outer_2:
    scatter: [name, count]
    scatterMethod: dotproduct
    in: {name: names, count: {source: counts, valueFrom: "$([0, 1, 2].slice(0, self))"}}
    out: [o]
    run:
      class: Workflow
      inputs: {name: string, count: "int[]"}
      outputs: {o: {type: "File[]", outputSource: say_2/o}}
      steps:
        say_2:
          scatter: number
          in: {name: name, number: count}
          out: [o]
          run:
            class: CommandLineTool
            baseCommand: [echo]
            inputs: {name: {type: string, inputBinding: {}}, number: {type: int, inputBinding: {}}}
            stdout: said
            outputs: {o: stdout}
        say: {in: {name: name}, out: [], run: {class: CommandLineTool, baseCommand: 'true', inputs: {name: string}, outputs: []}}
""",
        {"names": ["a", "b", "c"], "counts": [2, 0, 1]},
    ),
    "steps-that-are-skipped": (
        FLOW
        + """
inputs: {n: "int[]"}
outputs: {o: {type: "File[]", outputSource: big/o, pickValue: all_non_null}, m: {type: "File[]", outputSource: [one/o, big/o], linkMerge: merge_flattened, pickValue: all_non_null}}
steps:
  big:
    when: $(inputs.n > 1)
    scatter: n
    in: {n: n}
    out: [o]
    run: &say {class: CommandLineTool, baseCommand: echo, inputs: {n: {type: int, inputBinding: {}}}, stdout: $(inputs.n).txt, outputs: {o: stdout}}
  one: {when: "$(inputs.n == 1)", in: {n: {default: 2}}, out: [o], run: *say}
""",
        {"n": [1, 2, 3]},
    ),
    "lists-of-files-that-are-read": (
        FLOW
        + """
inputs: {files: "File[]", maybe: File?}
outputs: {o: {type: File, outputSource: s/o}, t: {type: string, outputSource: e/t}}
steps:
  s:
    in: {files: files, maybe: maybe}
    out: [o]
    run:
      class: CommandLineTool
      requirements: {InlineJavascriptRequirement: {}}
      baseCommand: echo
      arguments: ['$(inputs.files.map(function (f) { return f.contents; }).join("+"))', '$(inputs.maybe === null)']
      inputs: {files: {type: "File[]", loadContents: true}, maybe: {type: File?, loadContents: true}}
      stdout: o
      outputs: {o: stdout}
  e:
    in: {files: files}
    out: [t]
    run:
      class: ExpressionTool
      inputs: {files: {type: "File[]", loadContents: true}}
      outputs: {t: string}
      expression: '${ return {t: inputs.files[1].contents}; }'
""",
        {"files": [text("1", "a"), text("2", "b")], "maybe": None},
    ),
    "types-with-names": (
        FLOW
        + """
inputs: {c: string}
outputs: {o: {type: File, outputSource: s/o}, p: {type: File, outputSource: t/o}}
steps:
  s: {in: {p: {source: c, valueFrom: "$({a: self, c: 'red'})"}}, out: [o], run: tool.cwl}
  t: {in: {p: {source: c, valueFrom: "$({a: self, c: 'green'})"}}, out: [o], run: tool.cwl}
""",
        {"c": "x"},
    ),
    "all-combinations": (
        FLOW
        + """
inputs: {a: "string[]", b: "string[]", none: "string[]"}
outputs:
  flat: {type: "File[]", outputSource: flat/o}
  nested: {type: {type: array, items: {type: array, items: File}}, outputSource: nested/o}
  empty: {type: {type: array, items: {type: array, items: File}}, outputSource: empty/o}
steps:
  flat:
    {scatter: [a, b], scatterMethod: flat_crossproduct, in: {a: a, b: b}, out: [o], run: pair.cwl}
  nested:
    {scatter: [a, b], scatterMethod: nested_crossproduct, in: {a: a, b: {source: b, valueFrom: $(self)!}}, out: [o], run: pair.cwl}
  empty:
    {scatter: [a, b], scatterMethod: nested_crossproduct, in: {a: a, b: none}, out: [o], run: pair.cwl}
""",
        {"a": ["1", "2"], "b": ["x", "y", "z"], "none": []},
    ),
    "folders": (
        FLOW
        + """
inputs: []
outputs: {o: {type: File, outputSource: list/o}, d: {type: Directory, outputSource: make/d}}
steps:
  make: {in: [], out: [d], run: {class: CommandLineTool, baseCommand: [sh, -c, 'mkdir -p made/sub made/empty; echo 1 >made/a; echo 2 >made/sub/b'], inputs: [], outputs: {d: {type: Directory, outputBinding: {glob: made}}}}}
  list: {in: {d: make/d}, out: [o], run: {class: CommandLineTool, baseCommand: [sh, -c, 'cd "$0" && find . | sort'], inputs: {d: {type: Directory, inputBinding: {}}}, stdout: o, outputs: {o: stdout}}}
""",
        {},
    ),
}
