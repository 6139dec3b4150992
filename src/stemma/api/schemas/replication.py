"""What executions wait for from elsewhere, as the API shows it."""

from datetime import datetime

from pydantic import Field

from stemma.api.schemas.envelope import Answer, Shown
from stemma.database.queries.replicas import ReplicaState
from stemma.lifecycle.awaiting import MOST_FILES, MOST_STEPS, AwaitedFile, Awaiting


class ReplicatedFiles(Answer):
    """How many files an execution needs from elsewhere."""

    total: int = Field(examples=[12])
    here: int = Field(examples=[9])
    waiting: int = Field(description="Still to come.", examples=[2])
    failed: int = Field(description="Cannot be had.", examples=[1])
    handed: int = Field(description="Not brought here: the engine's server reads them where they lie.", examples=[0])


class ReplicatedBytes(Answer):
    """How many bytes those are."""

    wanted: int = Field(description="Of all files whose size is known.", examples=[960000000])
    here: int = Field(description="Of those that are here.", examples=[480000000])
    moved: int = Field(
        description="Over the network, for this execution: nothing for what was here already.", examples=[600000000]
    )


class AwaitedShown(Answer):
    """A file that an execution waits for."""

    id: int = Field(description="Its number in this service.", examples=[31])
    basename: str = Field(examples=["big.nc"])
    port: str = Field(description="Which input it is, or belongs to.", examples=["grid"])
    url: str | None = Field(description="Where it comes from.", examples=["s3://climate/grid/big.nc"])
    size: int | None = Field(description="Null where its source does not tell.", examples=[480000000])
    moved_bytes: int = Field(description="As written down every few seconds.", examples=[120000000])
    state: ReplicaState = Field(examples=["moving"])
    tries: int = Field(description="How often it was tried in vain.", examples=[0])
    next_try: datetime | None = Field(description="Null where nobody waits for that.", examples=[None])
    error: str | None = Field(description="Why the last try was in vain.", examples=[None])
    steps: list[str] = Field(
        description=f"Keys of the steps that wait for it right now, {MOST_STEPS} at most.", examples=[["each[0]/sum"]]
    )
    waiting_steps: int = Field(description="How many there are.", examples=[1])
    bytes_per_second: float | None = Field(description="Null where it is not known.", examples=[11200000.0])
    seconds_left: float | None = Field(description="At that speed.", examples=[32.1])

    @staticmethod
    def of(awaited: AwaitedFile) -> Shown:
        """What is shown of ``awaited``."""
        file = awaited.file
        is_put_off = file.state is ReplicaState.WANTED and file.tries > 0
        return {
            "id": file.number,
            "basename": file.basename,
            "port": file.port,
            "url": file.source.get("url"),
            "size": file.size_bytes,
            "moved_bytes": file.moved_bytes,
            "state": file.state,
            "tries": file.tries,
            "next_try": file.not_before if is_put_off else None,
            "error": file.error,
            "steps": list(awaited.steps[:MOST_STEPS]),
            "waiting_steps": len(awaited.steps),
            "bytes_per_second": awaited.bytes_per_second,
            "seconds_left": awaited.seconds_left,
        }


class ReplicationShown(Answer):
    """What an execution needs from elsewhere, and what it waits for."""

    files: ReplicatedFiles
    bytes: ReplicatedBytes
    waiting_steps: int = Field(description="How many steps wait for files right now.", examples=[1])
    awaited: list[AwaitedShown] = Field(
        description=f"Files that it waits for, {MOST_FILES} at most: first those that steps wait for."
    )

    @staticmethod
    def of(found: Awaiting) -> Shown:
        """What is shown of ``found``."""
        count = found.arrivals
        return {
            "files": {
                "total": count.files, "here": count.here, "waiting": count.waiting, "failed": count.failed,
                "handed": count.handed,
            },
            "bytes": {"wanted": count.wanted_bytes, "here": count.here_bytes, "moved": count.moved_bytes},
            "waiting_steps": found.waiting_steps,
            "awaited": [AwaitedShown.of(one) for one in found.files],
        }  # fmt: skip
