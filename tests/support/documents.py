"""Small CWL documents for tests that are about something else."""

ECHO = b"""
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [echo]
inputs:
  words: {type: string, inputBinding: {position: 1}}
stdout: said.txt
outputs:
  said: {type: stdout}
"""


def naming(keyword: str, value: object) -> bytes:
    """A tool that copies the file that its document names with ``keyword``."""
    return f"""
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [cat]
inputs:
  text:
    type: File
    inputBinding: {{position: 1}}
    {keyword}: "{{{{{value}}}}}"
stdout: copied.txt
outputs:
  copied: {{type: stdout}}
""".encode()


COPY = b"""
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs:
  texts: "File[]"
outputs:
  copies: {type: "File[]", outputSource: copy/copied}
steps:
  copy:
    scatter: text
    in: {text: texts}
    out: [copied]
    run:
      class: CommandLineTool
      baseCommand: [cat]
      inputs:
        text: {type: File, inputBinding: {position: 1}}
      stdout: $(inputs.text.basename)
      outputs:
        copied: {type: stdout}
"""

SLOW = b"""
cwlVersion: v1.2
class: CommandLineTool
requirements: {ShellCommandRequirement: {}}
arguments:
  - shellQuote: false
    valueFrom: "for i in 1 2 3 4 5; do echo line $i; echo oops $i >&2; sleep $(inputs.pause); done; printf unfinished"
inputs:
  pause: {type: float}
stdout: lines.txt
stderr: errors.txt
outputs:
  lines: {type: stdout}
"""

LOUD = b"""
cwlVersion: v1.2
class: CommandLineTool
requirements: {ShellCommandRequirement: {}}
arguments:
  - shellQuote: false
    valueFrom: "for i in 1 2 3 4 5; do echo line $i; echo oops $i >&2; sleep $(inputs.pause); done; printf unfinished"
inputs:
  pause: {type: float}
outputs: []
"""

FAILING = b"""
cwlVersion: v1.2
class: CommandLineTool
requirements: {ShellCommandRequirement: {}}
arguments: [{shellQuote: false, valueFrom: "echo it went wrong >&2; exit 3"}]
inputs: []
outputs: []
"""
