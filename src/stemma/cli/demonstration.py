"""An example, run as ``stemma run`` does, and each of its results held against ``expected.json``."""

import io
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stemma.cli.access import access
from stemma.cli.console import console, lasting, print_table, say, sized
from stemma.cli.one_go import Outcome, Wish, make
from stemma.errors import AddressRefused, StemmaError

if TYPE_CHECKING:
    from stemma.cli.access import Access
    from stemma.client import Run

_EXAMPLE: Final = Path("examples") / "weather"
_ELSEWHERE: Final = "elsewhere.cwl"
"""The example's document for data that lies elsewhere."""
_SHOWN_CHARACTERS: Final = 100


class ExampleMissing(StemmaError):
    """The example is not on this machine."""

    code, exit_code = "example-missing", 66

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"there is no example in {folder}: examples come with the source distribution of stemma-registry, not with "
            "the installed package; unpack it and run this in its folder, or name one with --example"
        )
        self.folder = folder


@dataclass(frozen=True, slots=True)
class Check:
    """One result, as it is and as it must be."""

    what: str
    found: str
    expected: str

    @property
    def holds(self) -> bool:
        """Whether they are equal."""
        return self.found == self.expected


def demonstrate(example: Path | None, outdir: Path, url: str | None, user: str | None) -> int:
    """Run the example, print what happened and what was compared; 0 when everything is as expected.

    The weather example is run with its data elsewhere: on a server that is started for it, and slow. A service that
    was told to ask no such server gets the data sent along.

    Raises:
        ExampleMissing: there is none.
        StemmaError: it could not be run.
    """
    folder = example or _find()
    expected = _expectations(folder)
    if example is not None or not (folder / _ELSEWHERE).is_file():
        return _demonstrate(_here(folder, outdir), expected, url, user)
    from stemma.cli.demo_source import by_city_and_year, far_away  # noqa: PLC0415 - where there is a server to start

    parts = by_city_and_year(folder / "observations.csv")
    with far_away(parts) as source:
        try:
            with _reachable(source):
                wish = _elsewhere(folder, outdir, [f"{source}/{name}" for name in parts])
                return _demonstrate(wish, {**expected, **expected["elsewhere"]}, url, user)
        except AddressRefused:
            say("the service that runs asks no servers of this machine: the data is sent along", style="yellow")
    return _demonstrate(_here(folder, outdir), expected, url, user)


def _demonstrate(wish: Wish, expected: dict[str, Any], url: str | None, user: str | None) -> int:
    say(f"running {wish.document}")
    with access(url, user) as way:
        outcome = make(way, wish)
        checks = list(compare(outcome.run, expected))
        _print_steps(outcome.run)
        _print_checks(checks)
        _tell_overlap(way, outcome.run, wish.outdir)
    return _verdict(checks, outcome)


def _here(folder: Path, outdir: Path) -> Wish:
    """The example with its files sent along."""
    return Wish(str(folder / "main.cwl"), (str(folder / "inputs.yml"),), outdir, name=folder.name)


def _elsewhere(folder: Path, outdir: Path, urls: list[str]) -> Wish:
    """The example with its files on a server."""
    from stemma.cli.demo_source import BYTES_PER_SECOND  # noqa: PLC0415 - as above

    files = [{"class": "File", "location": url} for url in urls]
    outdir.mkdir(parents=True, exist_ok=True)
    job = outdir / "inputs.json"
    job.write_text(json.dumps({"observations": files}, indent=2) + "\n", encoding="utf-8")
    source = urls[0].rpartition("/")[0]
    say(f"its data: {len(files)} files at {source}, which gives {sized(BYTES_PER_SECOND)} a second")
    return Wish(str(folder / _ELSEWHERE), (str(job),), outdir, name=f"{folder.name}-elsewhere")


@contextmanager
def _reachable(source: str) -> Iterator[None]:
    """Let a service that is started for this command ask the server at ``source``, which it would refuse."""
    allowed = {"STEMMA_ALLOW_PLAIN_HTTP": "true", "STEMMA_ALLOW_PRIVATE_HOSTS": source.removeprefix("http://")}
    before = {name: os.environ.get(name) for name in allowed}  # noqa: TID251 - the settings of a child process
    os.environ.update(allowed)  # noqa: TID251 - as above
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)  # noqa: TID251 - as above
            if value is not None:
                os.environ[name] = value  # noqa: TID251 - as above


def _tell_overlap(way: "Access", run: "Run", outdir: Path) -> None:
    """What was saved by fetching while steps ran, with the picture of it."""
    from stemma.cli.demo_overlap import overlap_in  # noqa: PLC0415 - when the run has ended
    from stemma.cli.files import written  # noqa: PLC0415 - as above

    document = io.BytesIO()
    way.client.provenance.prov_json(run.id, document)
    found = overlap_in(json.loads(document.getvalue()))
    if not found.files:
        return
    print()
    say(f"{found.files} files ({sized(found.moved_bytes)}) were fetched in {lasting(found.moving_seconds)}")
    share = found.overlap_seconds / found.moving_seconds if found.moving_seconds else 0.0
    say(
        f"steps ran during {lasting(found.overlap_seconds)} of that ({share:.0%}): so much longer it would have taken "
        "to fetch everything first",
        style="bold",
    )
    target = outdir.absolute() / f"weather-{run.number or run.id}-timeline.png"
    picture = written(target, lambda file: way.client.runs.timeline(run.id, file, picture_format="png"))
    print(f"what overlapped: {picture}")


def compare(run: "Run", expected: dict[str, Any]) -> Iterator[Check]:
    """Every result of ``run`` that ``expected`` speaks of, and any output that it does not speak of."""
    yield Check("state", run.state.value, expected["status"])
    last = max((step.attempt for step in run.steps), default=1)
    counts = Counter(step.state for step in run.steps if step.attempt == last and step.raw["kind"] != "workflow")
    for state, count in expected.get("steps", {}).items():
        yield Check(f"steps {state}", str(counts[state]), str(count))
    given, wanted = dict(run.outputs or {}), dict(expected.get("outputs", {}))
    for port in sorted({*given, *wanted}):
        yield from _compare(port, given.get(port), wanted.get(port))


def _compare(where: str, found: Any, wanted: Any) -> Iterator[Check]:
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
            yield from _compare(f"{where}[{number}]", one, other)
    elif isinstance(wanted, dict) and isinstance(found, dict):
        known = {key: found.get(key) for key in wanted}
        yield Check(where, _written(known), _written(wanted))
    else:
        yield Check(where, _written(found), _written(wanted))


def _written(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _find() -> Path:
    """The weather example: below the working folder, or in the checkout that this is."""
    checkout = Path(__file__).resolve().parents[3]
    for root in (Path(), checkout):
        if (root / _EXAMPLE / "expected.json").is_file():
            return root / _EXAMPLE
    raise ExampleMissing(_EXAMPLE)


def _expectations(folder: Path) -> dict[str, Any]:
    try:
        expected: dict[str, Any] = json.loads((folder / "expected.json").read_bytes())
    except OSError as error:
        raise ExampleMissing(folder) from error
    return expected


def _print_steps(run: "Run") -> None:
    """One line a step of the document: how often it ran, how it ended, how long it took in all."""
    lines: dict[str, list[Any]] = {}
    for step in run.steps:
        if step.raw["kind"] != "workflow":
            lines.setdefault(step.path, []).append(step)
    rows = []
    for path, steps in lines.items():
        counts = Counter(step.state for step in steps)
        took = sum((one.ended_at - one.started_at).total_seconds() for one in steps if one.ended_at and one.started_at)
        rows.append((path, ", ".join(f"{count} {state}" for state, count in counts.items()), lasting(took)))
    print()
    print_table(("step", "executions", "took"), rows, right=("took",))


def _print_checks(checks: list[Check]) -> None:
    from rich.text import Text  # noqa: PLC0415 - loaded when something is printed

    print()
    rows = [
        (Text("✓", "green") if check.holds else Text("✗", "bold red"), check.what, _shown(check.found))
        for check in checks
    ]
    print_table(("", "result", "found"), rows)
    for check in checks:
        if not check.holds:
            say(f"{check.what} is not what it must be", style="bold red")
            say(f"  found:    {check.found}")
            say(f"  expected: {check.expected}")


def _shown(written: str) -> str:
    try:
        value = json.loads(written)
    except ValueError:
        return written
    if isinstance(value, dict) and "checksum" in value:
        return f"{value.get('basename')}  {sized(value.get('size') or 0)}  {value['checksum'][:19]}…"
    text = value if isinstance(value, str) else written
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


def _verdict(checks: list[Check], outcome: Outcome) -> int:
    print()
    wrong = sum(not check.holds for check in checks)
    if wrong:
        say(f"{wrong} of {len(checks)} results are not as expected", style="bold red")
        return 1
    console().print(f"all {len(checks)} results are as expected", style="bold green")
    if outcome.picture is None:
        say("but there is no picture of it", style="bold red")
        return 1
    print(f"where they came from: {outcome.picture}")
    return 0
