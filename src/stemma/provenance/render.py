"""From DOT to PNG or SVG, in a process of its own with a time limit.

``dot`` is used where it is on the path; else graphviz as the ``pygraphviz`` wheel carries it. Both are
given our own font, so that text reads and boxes fit on machines without any.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final, Literal, TypeAlias

from stemma.errors import DrawingFailed

Format: TypeAlias = Literal["png", "svg"]

FORMATS: Final = ("png", "svg")
FONTS: Final = Path(__file__).with_name("fonts")
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")
_FONTCONFIG: Final = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{fonts}</dir>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <cachedir prefix="xdg">fontconfig</cachedir>
  <cachedir>{cache}</cachedir>
</fontconfig>
"""
_COMPLAINT_LIMIT: Final = 300


def render(dot_text: str, format: Format, timeout_seconds: float) -> bytes:  # noqa: A002 - the word that the API uses
    """The picture that ``dot_text`` describes.

    Raises:
        DrawingFailed: graphviz is not there or refuses, or it took longer than ``timeout_seconds``.
    """
    if format not in FORMATS:
        raise DrawingFailed(f"there is no format {format!r}; choose one of {', '.join(FORMATS)}")
    with tempfile.TemporaryDirectory(prefix="stemma-draw-") as folder:
        configuration = Path(folder, "fonts.conf")
        text = _FONTCONFIG.format(fonts=escape(str(FONTS)), cache=escape(str(Path(folder, "cache"))))
        configuration.write_text(text, encoding="utf-8")
        picture = _run(_command(format), dot_text, timeout_seconds, _environment(configuration))
    if not picture.startswith(b"\x89PNG" if format == "png" else b"<?xml"):
        raise DrawingFailed("graphviz ended well but gave no picture")
    return picture


def _command(format_: str) -> list[str]:
    dot = shutil.which("dot")
    return [dot, f"-T{format_}"] if dot else [sys.executable, "-m", "stemma.provenance.render", format_]


def _environment(configuration: Path) -> dict[str, str]:
    passed = {
        name: value
        for name, value in os.environ.items()  # noqa: TID251 - filtered, to start a process with less
        if name in _PASSED_ON or name.startswith("LC_")
    }
    return {**passed, "FONTCONFIG_FILE": str(configuration)}


def _run(command: Sequence[str], dot_text: str, timeout_seconds: float, environment: dict[str, str]) -> bytes:
    try:
        ended = subprocess.run(
            command,
            input=dot_text.encode("utf-8", "replace"),
            capture_output=True,
            timeout=timeout_seconds,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DrawingFailed(f"it took longer than {timeout_seconds:g} s; ask for a coarser level") from error
    except OSError as error:
        raise DrawingFailed(f"graphviz does not start: {error.strerror}") from error
    if ended.returncode != 0:
        raise DrawingFailed(_complaint(ended.stderr, ended.returncode))
    return ended.stdout


def _complaint(stderr: bytes, returncode: int) -> str:
    """The last word of a renderer that failed; what fontconfig grumbles about is none of our business."""
    said = [line for line in stderr.decode("utf-8", "replace").splitlines() if line and "Fontconfig" not in line]
    return said[-1][:_COMPLAINT_LIMIT] if said else f"graphviz ended with {returncode}"


def main() -> None:
    """Render DOT from standard input with graphviz as the wheel carries it."""
    try:
        from pygraphviz import AGraph  # noqa: PLC0415 - needed in this process alone, and slow to load
    except ImportError as error:
        # The wheel carries graphviz, but not the libraries of the desktop that graphviz in turn is built on.
        sys.exit(f"install graphviz; the renderer that Stemma brings along lacks a library of the system ({error})")

    graph = AGraph(string=sys.stdin.buffer.read().decode("utf-8"))
    sys.stdout.buffer.write(graph.draw(format=sys.argv[1], prog="dot"))


if __name__ == "__main__":
    main()
