"""A timeline as PNG: resvg draws it with our own fonts, in a process of its own with a time limit.

Unlike graphviz, it needs nothing of the system. It holds up every thread of its process, hence one of its own.
"""

import subprocess
import sys
from typing import Final

from stemma.errors import DrawingFailed
from stemma.provenance.render import FONTS

_ZOOM: Final = 1.5
_COMPLAINT_LIMIT: Final = 300


def png_of(svg: str, timeout_seconds: float) -> bytes:
    """``svg`` as PNG.

    Raises:
        DrawingFailed: it could not be drawn, or not in time.
    """
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "stemma.provenance.timeline_png"],
            input=svg.encode(),
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DrawingFailed(f"it took longer than {timeout_seconds:g} s; SVG is made at once") from error
    except OSError as error:
        raise DrawingFailed(f"the renderer does not start: {error.strerror}") from error
    if ended.returncode != 0 or not ended.stdout.startswith(b"\x89PNG"):
        said = ended.stderr.decode("utf-8", "replace").strip().splitlines()
        raise DrawingFailed(said[-1][:_COMPLAINT_LIMIT] if said else f"the renderer ended with {ended.returncode}")
    return ended.stdout


def main() -> None:
    """Render SVG from standard input."""
    import resvg_py  # noqa: PLC0415 - needed in this process alone

    fonts = [str(font) for font in sorted(FONTS.glob("*.ttf"))]
    svg = sys.stdin.buffer.read().decode("utf-8")
    sys.stdout.buffer.write(resvg_py.svg_to_bytes(svg_string=svg, font_files=fonts, zoom=_ZOOM))


if __name__ == "__main__":
    main()
