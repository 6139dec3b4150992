"""The shell line of a job, with everything that is odd about it on a real server.

The line that a pod runs is ``/bin/sh -c '<line>' ``. Its exit code is that of the ``cp`` at its end, not the tool's; all
jobs of a run have one ``HOME``; files are staged by copies joined with ``;``, unquoted; values of variables stand between
double quotes as they are; where a shell is asked for, the first two words are dropped and nothing is quoted; and paths
that look like cwltool's own temporary ones are rewritten.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_QUOTED_BY_CWLTOOL = re.compile(r"(^$|[\s|&;()<>'\"$@])")
_SHELLS = frozenset({"/bin/bash", "/bin/sh"})
_WORKSPACE = "\0workspace\0"


@dataclass(frozen=True)
class Parts:
    """What cwltool knows of a job."""

    words: Sequence[str]
    home: str
    own_folder: str
    workspace: str
    environment: Mapping[str, str]
    copies: Sequence[tuple[str, str]]
    """Sources and targets."""
    wants_shell: bool
    first_shell_quote: bool
    """The first ``shellQuote`` among the bindings of the tool."""
    stdin: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    output_directory: str = ""
    """``dockerOutputDirectory``."""


def command(parts: Parts) -> str:
    """What the container's ``bash -c`` gets."""
    line = f"mkdir -p {parts.home} && cd {parts.home} && {_tool(parts)}"
    line = _preamble(parts) + line
    if parts.output_directory:
        line = f"mkdir -p {parts.output_directory} && {line} ; cp -r {parts.output_directory} {parts.own_folder}"
    line += f"; cp -r {parts.home}/* {parts.own_folder}"
    return f"/bin/sh -c {shlex.quote(line)} "


def _preamble(parts: Parts) -> str:
    words = ["umask 2;"]
    words += [f'export {name}="{value}";' for name, value in parts.environment.items()]
    for source, target in parts.copies:
        goal = target.rpartition("/")[0] if Path(source).is_dir() else target
        words.append(f"cp -a {source} {goal} ;")
    return "".join(words)


def _tool(parts: Parts) -> str:
    if parts.wants_shell or parts.words[0] in _SHELLS:
        line = " ".join(parts.words[2:])
    else:
        line = " ".join(shlex.quote(word) if _QUOTED_BY_CWLTOOL.search(word) else word for word in parts.words)
    return _with_streams(_rewritten(line.replace("/bin/sh -c ", ""), parts.workspace), parts)


def _rewritten(line: str, workspace: str) -> str:
    """Replace what looks like cwltool's own folders.

    A workspace of REANA's is never below a folder called ``tmp``; ours may be, so it is hidden while this is done.
    """
    hidden = line.replace(workspace, _WORKSPACE)
    hidden = re.sub("/var/lib/cwl/.*?/", f"{Path(workspace).parent}/workspace/", hidden)
    return re.sub("/tmp/.*?/.*?/", f"{_WORKSPACE}/", hidden).replace(_WORKSPACE, workspace)


def _with_streams(line: str, parts: Parts) -> str:
    if parts.stdin:
        line += f" < {_stdin(parts.stdin, parts.own_folder)}"
    if parts.stdout:
        line += f" > {parts.home}/{parts.stdout}"
    if parts.stderr:
        goal = f"{parts.own_folder}/{parts.stderr}"
        line += f" 2> {goal}"
        if parts.wants_shell and not parts.first_shell_quote:
            line = line.replace("&2", goal)
    return line


def _stdin(path: str, own_folder: str) -> str:
    if path.startswith("/"):
        return path
    if "/" not in path:
        # REANA joins a list to the path here, which raises and ends the run.
        raise TypeError("join() argument must be str, bytes, or os.PathLike object, not 'list'")
    return f"{Path(own_folder).parent}/{Path(path).name}"
