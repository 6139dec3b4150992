"""The input object of a replay: late files that have come stand in by their names, sizes and digests."""

from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

from stemma.engines.cwltool.known_files import KnownFile
from stemma.engines.cwltool.ports import StagedInputs
from stemma.engines.replay.recorder import ReplayRecorder
from stemma.engines.replay.results import LeftFile
from stemma.file_fields import LATE, OCCURRENCE
from stemma.records import FileKind, Json


class ReplayedInputs(StagedInputs):
    """Gives every input file its place. Of a late one the bytes may be nowhere here any more."""

    def __init__(self, recorder: ReplayRecorder) -> None:
        super().__init__(recorder)
        self._replay = recorder

    def _of_file(self, value: Mapping[str, Json], folder: str | None) -> dict[str, Json]:
        staged = super()._of_file(value, folder)
        left = self._come(value)
        if left is not None:
            staged |= {"size": left.content.size_bytes, "checksum": f"sha256:{left.content.sha256}"}
        return staged

    def _expect(self, value: Mapping[str, Json], place: str, *, is_member: bool) -> KnownFile:
        left = self._come(value)
        if left is None:
            return super()._expect(value, place, is_member=is_member)
        with Path(place).open("xb") as target:
            target.truncate(left.content.size_bytes)
        self._replay.stands_in(place, left)
        known = KnownFile(UUID(value[OCCURRENCE]), FileKind.FILE, value["basename"], place, left.content)
        return self._replay.files.add(known)

    def _come(self, value: Mapping[str, Json]) -> LeftFile | None:
        return self._replay.late.get(UUID(value[OCCURRENCE])) if value.get(LATE) else None
