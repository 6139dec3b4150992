"""Provenance, seen from a client."""

from typing import Any, BinaryIO, Final

from stemma.client.connection import Connection
from stemma.client.downloads import Downloaded
from stemma.client.runs import RunName, named

_ROOT: Final = "/provenance"


class Provenance:
    """The records of runs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def capture(self, run: int | RunName) -> Any:
        """Seal the record of an ended run; what is told of it.

        Raises:
            RunNotFound: there is no such run.
            RunNotEnded: it still goes on.
            AlreadyCaptured: it was sealed before.
        """
        path, parameters = named(f"{_ROOT}/capture", run)
        return self._connection.send("POST", path, parameters)

    def draw(self, run: int | RunName, target: BinaryIO, *, picture_format: str = "png") -> Downloaded:
        """Write the picture of a run into ``target``, as ``png`` or ``svg``.

        Raises:
            RunNotFound: there is no such run.
            DrawingFailed: it could not be drawn.
        """
        path, parameters = named(f"{_ROOT}/draw", run)
        return self._connection.download(path, target, parameters | {"format": picture_format})

    def prov_json(self, run_id: int, target: BinaryIO) -> Downloaded:
        """Write the record as PROV-JSON into ``target``.

        Raises:
            RunNotFound: there is no such run.
        """
        return self._connection.download(f"{_ROOT}/json/{run_id}", target)

    def export(self, run_id: int, target: BinaryIO, *, document_format: str = "provn") -> Downloaded:
        """Write the record in a format of the W3C (``json``, ``provn``) into ``target``.

        Raises:
            RunNotFound: there is no such run.
        """
        return self._connection.download(f"{_ROOT}/export/{run_id}", target, {"format": document_format})
