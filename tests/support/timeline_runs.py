"""Runs whose inputs came from elsewhere, told as small scenes: overlapping, failing, attempted anew, by the thousand."""

from datetime import timedelta

from stemma.records import AttemptRecord, FileKind, ReplicationRecord, StepWaitRecord
from stemma.states import RunState, StepState
from support.provenance_runs import BEGIN, Scene, content, definition, structure

MB = 10**6


def after(seconds):
    return BEGIN + timedelta(seconds=seconds)


class Late(Scene):
    """A scene whose inputs come from elsewhere while it goes on; times are seconds since the run began."""

    def __post_init__(self):
        super().__post_init__()
        self.replications, self.waits = [], []

    def late(self, name, started=None, arrived=None, *, size=10 * MB, url="s3://climate/2026", asked=-3.0, **more):
        """An input: where ``started`` is None, it never moved."""
        file = self.file(
            name, "files", size=size, content=more.pop("content", content(name, size)), **more.pop("file", {})
        )
        was_here = more.pop("was_here", False)
        moved = size if started is not None and arrived is not None and not was_here else 0
        record = {
            "uuid": self.uuid(),
            "occurrence": file.uuid,
            "source": {"url": f"{url}/{name}", "version": '"e1"', "etag": '"e1"'},
            "requested_at": after(asked),
            "started_at": None if started is None else after(started),
            "arrived_at": None if arrived is None else after(arrived),
            "was_here": was_here,
            "times": 1 if moved else 0,
            "moved_bytes": moved,
            "sha256": file.content.sha256 if arrived is not None and file.content else None,
            "verified": "source" if arrived is not None else None,
            **more,
        }
        self.replications.append(ReplicationRecord(**record))
        return file

    def does(self, path, used=(), *, waits=None, begins=0.0, seconds=1.0, waited_for=(), **more):
        """A step; ``waits`` is when it began to wait for ``waited_for``, which are those it used where none are given."""
        attempt, key = more.get("attempt", 1), more.get("key", path)
        if waits is not None:
            files = tuple(file.uuid for file in (waited_for or used))
            self.waits.append(StepWaitRecord(attempt, key, path, files, after(waits)))
        return self.step(path, [("in", file) for file in used], started_at=after(begins), seconds=seconds, **more)

    def told(self, state=RunState.FINISHED, names=("prepare",), **more):
        """The run."""
        return self.run(
            structure(definition(name) for name in names),
            state,
            replications=tuple(self.replications),
            waits=tuple(self.waits),
            **more,
        )


def overlapping():
    """Six inputs of which one is here, and four steps that each start the moment their own are there."""
    scene = Late(21)
    scene.attempts = [AttemptRecord(1, scene.uuid(), "worker-1", after(0), after(31), "finished")]
    grid = scene.late("grid.nc", 0.4, 3.6, size=180 * MB)
    mask = scene.late("land-mask.nc", None, -3.0, size=22 * MB, was_here=True)
    january = scene.late("rain-2026-01.nc", 3.6, 9.1, size=310 * MB)
    february = scene.late("rain-2026-02.nc", 5.2, 13.4, size=290 * MB)
    stations = scene.late("stations.csv", 9.1, 9.4, size=64_000, url="https://data.example.org/stations")
    reference = scene.late("reference-climate-1991-2020.nc", 13.4, 21.0, size=420 * MB, url="rclone:archive/cold")
    scene.does("prepare", [grid, mask], waits=0.6, begins=3.8, seconds=7.0, waited_for=[grid])
    scene.does("clean", [january], waits=0.6, begins=9.3, seconds=6.0, key="clean[0]", scatter_index=(0,))
    scene.does("clean", [february], waits=0.7, begins=13.5, seconds=5.5, key="clean[1]", scatter_index=(1,))
    scene.does("compare", [stations, reference], waits=19.2, begins=21.1, seconds=8.0)
    scene.does("chart", [], begins=29.3, seconds=1.4)
    return scene.told(names=("prepare", "clean", "compare", "chart"))


def failing():
    """One input cannot be had: the step that waits for it fails, another goes on, a third is left waiting."""
    scene = Late(22)
    good = scene.late("genome.fa", 0.3, 6.5, size=900 * MB, url="https://mirror.example.org/genomes")
    bad = scene.late(
        "reads_<lane 2>&\N{RIGHT-TO-LEFT OVERRIDE}.fastq.gz", 2.0, 8.7, url="https://lab.example.org:8443/run7",
        error="https://lab.example.org:8443/run7: the server answers 403 (forbidden); the credentials of lab were revoked",
        sha256=None, verified=None, moved_bytes=4 * MB, times=0,
    )  # fmt: skip
    gone = scene.late(
        "panel.vcf", None, -3.0, url="s3://panels", error="there is no panel.vcf", sha256=None, verified=None
    )
    never = scene.late("notes.txt", url="s3://panels", size=10_000)
    again = scene.late("index.bin", 0.9, 4.1, size=120 * MB, url="s3://panels", times=3, moved_bytes=360 * MB)
    scene.does("index", [good], waits=0.5, begins=6.6, seconds=9.0)
    failed = {"state": StepState.FAILED, "seconds": 0.0}
    scene.does("align", [bad, good], waits=0.5, begins=9.0, error="an input cannot be had", **failed)
    scene.does("filter", [gone], waits=0.5, begins=0.6, error="an input cannot be had", **failed)
    scene.does("report", [again], waits=0.5, begins=4.2, seconds=3.0, state=StepState.FAILED, exit_code=137)
    scene.does("plot", [], begins=7.3, seconds=5.0, state=StepState.STOPPED)
    scene.does("merge", [], begins=4.0, seconds=0.0, state=StepState.SKIPPED)
    scene.does("annotate", [], begins=2.0, seconds=0.0, reused_from=scene.uuid())
    scene.waits.append(StepWaitRecord(1, "publish", "publish", (never.uuid,), after(0.9)))
    return scene.told(RunState.FAILED, reason="step align: an input cannot be had")


def attempted():
    """Three attempts: the first one's worker was lost, the second failed, the third went well and found files here."""
    scene = Late(23)
    ends = (
        (0, 14, "lost", "its worker gives no sign of life"),
        (44, 61, "failed", "step b: exit code 1"),
        (63, 92, "finished", None),
    )
    scene.attempts = [
        AttemptRecord(number, scene.uuid(), f"worker-{number}", after(begin), after(end), outcome, reason)
        for number, (begin, end, outcome, reason) in enumerate(ends, 1)
    ]
    one, two = scene.late("one.dat", 1, 9, size=400 * MB), scene.late("two.dat", 9, 57, size=2400 * MB)
    for number, begin in ((1, 0), (2, 44), (3, 63)):
        waits = {"waits": 0.4, "begins": 9.1} if number == 1 else {"begins": begin + 0.5}
        state = StepState.STOPPED if number == 1 else StepState.FINISHED
        scene.does("a", [one], seconds=4.9 if number == 1 else 6, attempt=number, state=state, **waits)
    scene.waits.append(StepWaitRecord(1, "b", "b", (two.uuid,), after(0.4)))
    scene.does("b", [two], waits=45, begins=57.1, seconds=3.5, attempt=2, state=StepState.FAILED, exit_code=1)
    scene.does("b", [two], begins=63.5, seconds=18, attempt=3)
    scene.does("c", [], begins=81.6, seconds=10, attempt=3)
    return scene.told(names=("a", "b", "c"))


def thousands(count=5000, remotes=2):
    """A scatter in which each element waits for its own file, twelve at a time."""
    scene = Late(24)
    calls, clock, slots = [], 0.2, [0.0] * 12
    for n in range(count):
        size = 40_000 + scene.random.randrange(900_000)
        is_bad, is_here = n % 1700 == 1699, n % 40 == 39
        begin = clock
        clock += 0 if is_here else size / 30e6
        file = scene.late(
            f"tile-{n:05}.tif", None if is_here else begin, -3.0 if is_here else clock + 0.06, size=size, was_here=is_here,
            url="https://tiles.example.org/v2" if n % 5 else "s3://tiles-archive",
            **({"error": "the server answers 404", "sha256": None, "verified": None} if is_bad else {}),
        )  # fmt: skip
        ready = max(0.3 if is_here else clock + 0.07, slots[0])
        seconds = 0.0 if is_bad else 0.1 + scene.random.random() * 0.4
        slots = sorted([*slots[1:], ready + seconds])
        state = StepState.FAILED if is_bad else StepState.FINISHED
        waits = {} if is_here else {"waits": 0.3}
        tile = scene.does(
            "tile", [file], begins=ready, seconds=seconds, key=f"tile[{n}]", scatter_index=(n,), state=state, **waits
        )
        calls.append(tile)
    style = scene.late("style.json", 0.1, 0.2, size=9_000, url="https://maps.example.org")
    end = max(slots)
    scene.does("mosaic", [style], begins=end + 0.2, seconds=9)
    scene.does("publish", [], begins=end + 9.4, seconds=2.5)
    return scene.told(names=("tile", "mosaic", "publish"))


def going():
    """A run that goes on: one input moves, one is in the queue, a step runs, one waits."""
    scene = Late(25)
    first, second = scene.late("first.bin", 0.2, 4.0), scene.late("second.bin", 4.0, times=0)
    third = scene.late("third.bin")
    scene.does("one", [first], waits=0.3, begins=4.1, state=StepState.RUNNING)
    scene.waits.append(StepWaitRecord(1, "two", "two", (second.uuid, third.uuid), after(0.3)))
    return scene.told(RunState.RUNNING, names=("one", "two"))


def many_attempts(count=20):
    """A step that fails at each attempt."""
    scene = Late(26)
    for number in range(1, count + 1):
        begin = 10 * number
        scene.attempts.append(AttemptRecord(number, scene.uuid(), "worker", after(begin), after(begin + 5), "failed"))
        scene.does("step", [], begins=begin, seconds=4, attempt=number, state=StepState.FAILED, exit_code=1)
    return scene.told(RunState.FAILED)


def folder():
    """A step that waits for a folder of three files."""
    scene = Late(27)
    photos = scene.file("photos", "files", kind=FileKind.DIRECTORY)
    for n in range(3):
        scene.late(f"photo-{n}.jpg", n, n + 1.0, file={"parent": photos.uuid, "position": f".listing[{n}]"})
    scene.does("look", [photos], waits=0.5, begins=3.2)
    return scene.told()
