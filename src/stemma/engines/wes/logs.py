"""The texts that runs and tasks leave: given by the server at a URL, or in the answer itself."""

import logging
import re
from pathlib import Path

from stemma.engines.wes.server import NAME, WesServer
from stemma.errors import EngineRefused, EngineUnreachable

logger = logging.getLogger(__name__)

LOG_BYTES = 32 * 1024 * 1024
_ADDRESS = re.compile(r"(https?://|\.{0,2}/)[^\s]*")
_CUT = b"\n[stemma: the rest is left out]\n"


def text_of(server: WesServer, run_id: str, told: str | None, limit_bytes: int = LOG_BYTES) -> bytes | None:
    """The log that a server told: what lies at its URL, or the text itself; None when there is none.

    Raises:
        EngineUnreachable: the server does not answer.
    """
    if told is None:
        return None
    if _ADDRESS.fullmatch(told) is None:
        found = told.encode("utf-8", "replace")
        return found if len(found) <= limit_bytes else found[:limit_bytes] + _CUT
    try:
        url = server.resolve(told, server.run_url(run_id), run_id)
        with server.stream(url) as chunks:
            parts, size = [], 0
            for chunk in chunks:
                parts.append(chunk[: limit_bytes - size])
                size += len(chunk)
                if size > limit_bytes:
                    parts.append(_CUT)
                    break
            return b"".join(parts)
    except EngineRefused as error:
        if "://" not in told:  # a line that only looks like a path
            return told.encode("utf-8", "replace")
        logger.info("a log of run %s is not to be had: %s", run_id, error)
        return None


def keep(server: WesServer, run_id: str, told: str | None, path: Path) -> str | None:
    """Bring a log here, as long as the server has it; returns its text. What cannot be had is left out."""
    try:
        found = text_of(server, run_id, told)
    except EngineUnreachable as error:  # a record without a log is better than a run that never ends
        logger.warning("a log of run %s on engine %s is left out: %s", run_id, NAME, error.reason)
        return None
    if found is None:
        return None
    text = server.clean(found.decode("utf-8", "replace"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return text
