"""Which files of an attempt lie in its workspace, whole: a line each, so that each costs the same to write down."""

from pathlib import Path

import orjson

_FILE = "reana.uploaded"


class Uploaded:
    """The uploads of an attempt into one run there."""

    def __init__(self, folder: Path, workflow_id: str) -> None:
        self._path = folder / _FILE
        self._workflow_id = workflow_id
        self._places = set(self._read())

    def __contains__(self, place: str) -> bool:
        return place in self._places

    def add(self, place: str) -> None:
        """Write down that the file at ``place`` is there."""
        with self._path.open("ab") as file:
            file.write(orjson.dumps([self._workflow_id, place], option=orjson.OPT_APPEND_NEWLINE))
        self._places.add(place)

    def _read(self) -> list[str]:
        """The places; a line that a killed process left half written counts as none, and so does the one behind it."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        places = []
        for line in lines:
            try:
                workflow_id, place = orjson.loads(line)
            except ValueError:
                continue
            if workflow_id == self._workflow_id:
                places.append(place)
        return places
