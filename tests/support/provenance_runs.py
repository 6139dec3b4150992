"""Runs to make documents and pictures of, told as small scenes."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

from stemma.records import (
    AttemptRecord,
    Content,
    FileKind,
    Occurrence,
    Person,
    Port,
    RevisionRecord,
    RunOutput,
    RunRecord,
    StepDefinition,
    StepInput,
    StepKind,
    StepRecord,
    Usage,
    WorkflowStructure,
)
from stemma.states import RunState, StepState

BEGIN = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
BASE_URL = "https://stemma.example.org"
ADA = Person("5f1c-ada", "ada")
GRACE = Person("77aa-grace", "grace")


def content(text, size=None):
    return Content(sha256(text.encode("utf-8", "surrogatepass")).hexdigest(), len(text) if size is None else size)


@dataclass
class Scene:
    """Facts of a run in the making."""

    seed: int = 0
    steps: list = field(default_factory=list)
    occurrences: list = field(default_factory=list)
    usages: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    inputs: dict = field(default_factory=dict)
    attempts: list = field(default_factory=list)
    now: datetime = BEGIN

    def __post_init__(self):
        self.random = random.Random(self.seed)

    def uuid(self):
        return UUID(int=self.random.getrandbits(128), version=4)

    def file(self, basename, port="out", step=None, *, size=2048, kind=FileKind.FILE, **more):
        """A new occurrence; of a step, made at its end."""
        made = Occurrence(
            uuid=self.uuid(),
            kind=kind,
            basename=basename,
            port=port,
            content=more.pop("content", content(f"{basename}{len(self.occurrences)}", size))
            if kind is FileKind.FILE
            else None,
            step=step.uuid if step else None,
            at=step.ended_at if step else None,
            id=len(self.occurrences) + 1,
            **more,
        )
        self.occurrences.append(made)
        return made

    def input(self, port, basename, **more):
        """A file at an input of the run."""
        made = self.file(basename, port, **more)
        self.inputs[port] = {"class": "File", "basename": basename, "stemma:occurrence": str(made.uuid)}
        return made

    def step(self, path, used=(), *, seconds=2.0, kind=StepKind.TOOL, state=StepState.FINISHED, **more):
        """A step execution that uses ``used``, pairs of port and occurrence."""
        begin = more.pop("started_at", self.now)
        self.now = max(self.now, begin + timedelta(seconds=seconds))
        ended = None if state is StepState.RUNNING else begin + timedelta(seconds=seconds)
        made = StepRecord(
            uuid=self.uuid(),
            attempt=more.pop("attempt", 1),
            key=more.pop("key", path),
            path=path,
            kind=kind,
            state=state,
            started_at=begin,
            ended_at=ended,
            exit_code=more.pop("exit_code", 0 if state is StepState.FINISHED else None),
            **more,
        )
        self.steps.append(made)
        self.usages += [Usage(made.uuid, file.uuid, port, file.position) for port, file in used]
        return made

    def output(self, port, *files):
        """Say that ``files`` are at an output of the run."""
        self.outputs += [RunOutput(file.uuid, port, file.position) for file in files]

    def run(self, structure, state=RunState.FINISHED, **more):
        """The run of all that was said."""
        ended = self.now if state.is_terminal else None
        attempts = tuple(self.attempts) or (
            AttemptRecord(
                1, self.uuid(), "worker-1", BEGIN, ended, state.value if ended else None, environment={"host": "node7"}
            ),
        )
        settings = {
            "started_at": BEGIN,
            "ended_at": ended,
            "inputs": self.inputs,
            "engine": "cwltool",
            "engine_version": "3.3.20260925135507",
            "name": "weather-1.2.0",
            "number": 7,
            "submitted_by": ADA,
            "id": 42,
            **more,
        }
        return RunRecord(
            uuid=self.uuid(),
            group="/climate",
            state=state,
            submitted_at=BEGIN - timedelta(seconds=3),
            revision=settings.pop("revision", None) or revision(structure),
            attempts=attempts,
            steps=tuple(self.steps),
            occurrences=tuple(self.occurrences),
            usages=tuple(self.usages),
            run_outputs=tuple(self.outputs),
            **settings,
        )


def revision(structure, name="weather by year", version="1.2.0", number=2):
    return RevisionRecord(
        workflow_id=3,
        group="/climate",
        name=name,
        version=version,
        number=number,
        created_at=BEGIN - timedelta(days=30),
        created_by=GRACE,
        digest="0f" * 32,
        main_path="main.cwl",
        structure=structure,
    )


def structure(steps=(), inputs=(), outputs=()):
    return WorkflowStructure("v1.2", "Workflow", tuple(inputs), tuple(outputs), tuple(steps))


def definition(path, kind=StepKind.TOOL, **more):
    return StepDefinition(path, kind, f"tools/{path}.cwl", **more)


def two_steps():
    """Sort a file, then count its lines."""
    scene = Scene(1)
    words = scene.input("words", "words.txt", size=48_211)
    scene.inputs["reverse"] = True
    sort = scene.step("sort", [("file", words)], seconds=1.31, literals={"reverse": True}, command=("sort", "-r"))
    sorted_words = scene.file("sorted.txt", "sorted", sort, size=48_211)
    count = scene.step("count", [("lines", sorted_words)], seconds=0.4)
    counted = scene.file("count.txt", "count", count, size=7)
    scene.output("count", counted)
    steps = (
        definition(
            "sort", inputs=(StepInput("file", ("words",)), StepInput("reverse", ("reverse",))), outputs=("sorted",)
        ),
        definition("count", inputs=(StepInput("lines", ("sort/sorted",)),), outputs=("count",)),
    )
    ports = (Port("words", "File"), Port("reverse", "boolean"))
    return scene.run(structure(steps, ports, (Port("count", "File", sources=("count/count",)),)))


def weather_structure():
    yearly = (
        definition(
            "by_year/select", inputs=(StepInput("table", ("table",)), StepInput("year", ("year",))), outputs=("rows",)
        ),
        definition("by_year/summarise", inputs=(StepInput("rows", ("by_year/select/rows",)),), outputs=("summary",)),
    )
    steps = (
        definition(
            "clean",
            inputs=(StepInput("raw", ("stations",)),),
            outputs=("table",),
            scatter=("raw",),
            image="python:3.12-slim",
        ),
        definition("join", inputs=(StepInput("tables", ("clean/table",)),), outputs=("table",)),
        StepDefinition(
            "by_year",
            StepKind.WORKFLOW,
            "by-year.cwl",
            scatter=("year",),
            steps=yearly,
            inputs=(StepInput("table", ("join/table",)), StepInput("year", ("years",))),
            outputs=("summary",),
        ),
        definition("merge", inputs=(StepInput("parts", ("by_year/summary",)),), outputs=("merged",)),
        definition("outliers", conditional=True, inputs=(StepInput("table", ("join/table",)),), outputs=("report",)),
        definition(
            "chart",
            inputs=(StepInput("table", ("merge/merged",)), StepInput("title", ("title",))),
            outputs=("picture",),
        ),
        definition("pick", StepKind.EXPRESSION, inputs=(StepInput("table", ("merge/merged",)),), outputs=("hottest",)),
    )
    inputs = (
        Port("stations", {"type": "array", "items": "File"}),
        Port("years", {"type": "array", "items": "int"}),
        Port("title", "string"),
    )
    outputs = (
        Port("chart", "File", sources=("chart/picture",)),
        Port("merged", "File", sources=("merge/merged",)),
        Port("hottest", "int", sources=("pick/hottest",)),
    )
    return structure(steps, inputs, outputs)


def weather():
    """Clean the tables of three stations, summarise each of four years in a sub-workflow, merge, draw a chart."""
    scene = Scene(2)
    raw = [scene.file(f"station-{n}.csv", "stations", size=900_000 + n, position=f"[{n}]") for n in range(3)]
    scene.inputs["stations"] = [{"class": "File", "stemma:occurrence": str(file.uuid)} for file in raw]
    scene.inputs |= {"years": [2021, 2022, 2023, 2024], "title": "Mean temperature by year"}
    image = {"image": "python:3.12-slim", "image_digest": f"sha256:{'ab' * 32}"}
    tables = []
    for n, file in enumerate(raw):
        clean = scene.step(
            "clean",
            [("raw", file)],
            key=f"clean[{n}]",
            scatter_index=(n,),
            seconds=3 + n,
            cpu_seconds=2.5,
            memory_peak_bytes=91_000_000,
            **image,
        )
        tables.append(scene.file(f"station-{n}.clean.csv", "table", clean, size=640_000))
    join = scene.step("join", [("tables", table) for table in tables], seconds=2)
    table = scene.file("all-stations.csv", "table", join, size=1_900_000)
    parts = [_one_year(scene, table, n, year) for n, year in enumerate(scene.inputs["years"])]
    merge = scene.step("merge", [("parts", part) for part in parts], seconds=0.7)
    merged = scene.file("by-year.csv", "merged", merge, size=4_812)
    scene.step("outliers", [], state=StepState.SKIPPED, seconds=0)
    chart = scene.step("chart", [("table", merged)], seconds=1.9, literals={"title": scene.inputs["title"]})
    picture = scene.file("chart.png", "picture", chart, size=88_231)
    scene.step("pick", [("table", merged)], kind=StepKind.EXPRESSION, seconds=0.02, literals={"hottest": 2024})
    scene.output("chart", picture)
    scene.output("merged", merged)
    outputs = {"chart": {"class": "File"}, "merged": {"class": "File"}, "hottest": 2024}
    return scene.run(weather_structure(), outputs=outputs)


def _one_year(scene, table, n, year):
    key = f"by_year[{n}]"
    inner = scene.step(
        "by_year",
        [("table", table)],
        key=key,
        scatter_index=(n,),
        kind=StepKind.WORKFLOW,
        seconds=5,
        literals={"year": year},
    )
    begin = inner.started_at
    select = scene.step(
        "by_year/select",
        [("table", table)],
        key=f"{key}/select",
        parent=inner.uuid,
        seconds=2,
        literals={"year": year},
        started_at=begin,
    )
    rows = scene.file(f"rows-{year}.csv", "rows", select, size=480_000)
    summarise = scene.step(
        "by_year/summarise",
        [("rows", rows)],
        key=f"{key}/summarise",
        parent=inner.uuid,
        seconds=1.5,
        started_at=begin + timedelta(seconds=2),
    )
    return scene.file(f"summary-{year}.csv", "summary", summarise, size=1_210)


def failed():
    """A run whose second step fails, and whose other branch was reused."""
    scene = Scene(3)
    reads = scene.input("reads", "sample_0001_lane_2_forward_reads.trimmed.filtered.fastq.gz", size=3_400_000_000)
    reference = scene.input("reference", "GRCh38.fa", size=3_100_000_000)
    indexed = scene.step("index", [("genome", reference)], seconds=0, reused_from=scene.uuid())
    index = scene.file("GRCh38.fa.idx", "index", indexed, size=4_000_000_000, derived_from=(scene.uuid(),))
    align = scene.step(
        "align",
        [("reads", reads), ("index", index)],
        state=StepState.FAILED,
        exit_code=137,
        seconds=754,
        stderr_tail="[M::main] reading the index\n[M::worker] 200000 sequences\nKilled: out of memory <at> chr17\n",
        error="the tool ended with exit code 137",
        memory_peak_bytes=16_000_000_000,
    )
    scene.file("align.log", "log", align, size=912)
    steps = (definition("index", outputs=("index",)), definition("align", outputs=("bam",)))
    return scene.run(
        structure(steps),
        RunState.FAILED,
        reason="step align failed with exit code 137",
        outputs=None,
        revision=revision(structure(steps), "align reads", "0.9"),
    )


def wide(count, failures=0):
    """A scatter of ``count`` over one file, gathered by one step."""
    scene = Scene(4)
    table = scene.input("table", "table.csv", size=10**9)
    made = []
    for n in range(count):
        state = StepState.FAILED if n < failures else StepState.FINISHED
        step = scene.step(
            "part",
            [("table", table)],
            key=f"part[{n}]",
            scatter_index=(n,),
            state=state,
            seconds=0.1,
            exit_code=1 if n < failures else 0,
            stderr_tail="no such column: t\n" if n < failures else "",
        )
        if state is StepState.FINISHED:
            made.append(scene.file(f"part-{n}.csv", "rows", step))
    gather = scene.step("gather", [("parts", file) for file in made], seconds=4)
    scene.output("all", scene.file("all.csv", "all", gather))
    steps = (definition("part", scatter=("n",), outputs=("rows",)), definition("gather", outputs=("all",)))
    return scene.run(structure(steps), RunState.FAILED if failures else RunState.FINISHED)


def chain(length):
    """``length`` different steps, each using the file of the one before."""
    scene = Scene(5)
    file = scene.input("start", "start.txt")
    for n in range(length):
        step = scene.step(f"link{n}", [("before", file)], seconds=0.2)
        file = scene.file(f"link{n}.txt", "after", step)
    scene.output("end", file)
    return scene.run(structure(definition(f"link{n}", outputs=("after",)) for n in range(length)))


def directories():
    """Directories in and out, secondary files, an array, an empty directory, a file handed through."""
    scene = Scene(6)
    photos = scene.file("photos", "photos", kind=FileKind.DIRECTORY)
    scene.inputs["photos"] = {"class": "Directory", "stemma:occurrence": str(photos.uuid)}
    for n in range(12):
        scene.file(f"IMG_{n:04}.jpg", "photos", parent=photos.uuid, position=f".listing[{n}]", size=2_000_000)
    genome = scene.input("genome", "genome.fa", size=3 * 10**9)
    scene.file("genome.fa.fai", "genome", parent=genome.uuid, position=".secondaryFiles[0]", size=20_000)
    resize = scene.step("resize", [("folder", photos)], seconds=61)
    small = scene.file("small", "folder", resize, kind=FileKind.DIRECTORY)
    for n in range(12):
        scene.file(f"IMG_{n:04}.jpg", "folder", resize, parent=small.uuid, position=f".listing[{n}]", size=90_000)
    nothing = scene.file("rejected", "rejected", resize, kind=FileKind.DIRECTORY)
    call = scene.step("call", [("genome", genome)], seconds=20)
    calls = [scene.file(f"chr{n}.vcf", "calls", call, position=f"[{n}]", size=70_000) for n in range(5)]
    bam = scene.file("calls.bam", "bam", call, size=10**8)
    scene.file("calls.bam.bai", "bam", call, parent=bam.uuid, position=".secondaryFiles[0]", size=10**5)
    album = scene.step("album", [("folder", small), *(("calls", file) for file in calls)], seconds=3)
    page = scene.file("album.html", "page", album, size=12_000)
    scene.output("page", page)
    scene.output("small", small)
    scene.output("rejected", nothing)
    scene.output("genome", genome)
    steps = (
        definition("resize", outputs=("folder", "rejected")),
        definition("call", outputs=("calls", "bam")),
        definition("album", outputs=("page",)),
    )
    return scene.run(structure(steps))
