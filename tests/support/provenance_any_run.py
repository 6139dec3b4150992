"""A strategy that makes any run: several attempts, scatters, sub-workflows, failures, hostile names."""

from datetime import timedelta

from hypothesis import strategies as st

from stemma.records import AttemptRecord, FileKind, Occurrence, Person, StepDefinition, StepKind
from stemma.states import RunState, StepState
from support.provenance_runs import BEGIN, Scene, content, definition, revision, structure

HOSTILE_NAMES = (
    'quo"te',
    "new\nline",
    "emoji 😀 日本",
    "long" * 75,
    "a:b c",
    "..",
    "-dash.",
    "<b>&amp;</b>",
    "back\\slash",
    "'single'",
    "tab\tand\rreturn",
    "nul\x00bell\x07",
    "half \ud800 character",
    "per%cent%20",
    "[1](x);=,",
    "digraph",
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe",
)

NAMES = st.one_of(st.sampled_from(HOSTILE_NAMES), st.text(min_size=1, max_size=12))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def any_run(draw):
    """Any run: several attempts, scatters, sub-workflows, failures, hostile names, whatever files."""
    scene = Scene(draw(st.integers(0, 2**32)))
    words = draw(st.lists(NAMES, min_size=6, max_size=6))
    values = draw(st.lists(VALUES, min_size=3, max_size=3))
    steps = _any_definitions(draw, words)
    _any_inputs(draw, scene, words, values)
    state = draw(st.sampled_from(RunState))
    for number in range(1, draw(st.integers(0, 3)) + 1):
        _any_attempt(draw, scene, number, steps, words=words, values=values)
    for file in scene.occurrences:
        if draw(st.integers(0, 4)) == 0:
            scene.output(words[0], file)
    return scene.run(
        structure(steps),
        state,
        reason=draw(st.none() | NAMES),
        outputs=draw(st.none() | st.just({words[1]: values[1], words[2]: values[2]})),
        engine_version=draw(st.none() | NAMES),
        started_at=draw(st.sampled_from([None, BEGIN])),
        submitted_by=Person(words[3], words[4]),
        deleted_at=scene.now if state is RunState.DELETED else None,
        revision=revision(structure(steps), words[0], words[5], draw(st.integers(1, 3))),
    )


def _any_definitions(draw, words):
    made = []
    for n in range(draw(st.integers(0, 3))):
        path = f"{words[n].replace('/', '')}{n}"
        is_workflow = draw(st.booleans())
        inner = (definition(f"{path}/{words[3].replace('/', '')}"),) if is_workflow else ()
        made.append(
            StepDefinition(
                path,
                StepKind.WORKFLOW if is_workflow else StepKind.TOOL,
                words[4],
                steps=inner,
                scatter=draw(st.sampled_from([(), ("n",)])),
                conditional=draw(st.booleans()),
                outputs=(words[5],),
                image=draw(st.none() | NAMES),
            )
        )
    return tuple(made)


def _any_inputs(draw, scene, words, values):
    scene.inputs[words[0]] = values[0]
    if draw(st.booleans()):
        scene.input(words[1], words[2])
    if draw(st.booleans()):
        files = [scene.file(words[n], words[3], position=f"[{n}]") for n in range(2)]
        scene.inputs[words[3]] = [{"class": "File", "stemma:occurrence": str(file.uuid)} for file in files]
    if draw(st.booleans()):
        scene.inputs[words[4]] = {"class": "File", "basename": words[5], "stemma:occurrence": str(scene.uuid())}


def _any_attempt(draw, scene, number, steps, *, words, values):
    uuid, begin = scene.uuid(), scene.now
    for step in steps:
        for n in range(draw(st.integers(0, 3)) if step.scatter else 1):
            key = f"{step.path}[{n}]" if step.scatter else step.path
            outer = _any_step(
                draw, scene, number, step, key, words=words, values=values, scatter_index=(n,) if step.scatter else ()
            )
            for inner in step.steps:
                _any_step(
                    draw, scene, number, inner, f"{key}/{inner.path}", words=words, values=values, parent=outer.uuid
                )
    ended = draw(st.sampled_from([None, scene.now]))
    environment = {words[0]: values[0], "host": "node7", "cores": 2}
    scene.attempts.append(AttemptRecord(number, uuid, words[1], begin, ended, environment=environment))


def _any_step(draw, scene, number, step, key, *, words, values, **more):
    used = draw(st.lists(st.sampled_from(scene.occurrences), max_size=3)) if scene.occurrences else []
    state = draw(st.sampled_from(StepState))
    made = scene.step(
        step.path, [(words[2], file) for file in used], key=key, attempt=number, kind=step.kind, state=state,
        seconds=draw(st.sampled_from([0, 0.5, 3000])), literals={words[n]: values[n] for n in range(2)},
        reused_from=draw(st.sampled_from([None, None, scene.uuid()])), stderr_tail=draw(st.none() | NAMES),
        error=draw(st.none() | NAMES), command=tuple(words), exit_code=draw(st.sampled_from([None, 0, 3])),
        image=step.image, image_digest=draw(st.sampled_from([None, f"sha256:{'cd' * 32}", words[0]])),
        cpu_seconds=draw(st.none() | st.floats(0, 1e9)), memory_peak_bytes=draw(st.none() | st.integers(0, 2**40)),
        **more,
    )  # fmt: skip
    _any_files(draw, scene, made, words)
    return made


def _any_files(draw, scene, step, words):
    shape = draw(st.sampled_from(["none", "file", "array", "directory", "empty", "secondary", "handed on", "late"]))
    if shape == "file":
        scene.file(words[0], words[5], step, content=content("the same bytes"))
    elif shape == "array":
        for n in range(2):
            scene.file(words[n], words[5], step, position=f"[{n}]")
    elif shape in {"directory", "empty"}:
        folder = scene.file(words[1], words[5], step, kind=FileKind.DIRECTORY)
        if shape == "directory":
            scene.file(words[2], words[5], step, parent=folder.uuid, position=".listing[0]")
    elif shape == "secondary":
        primary = scene.file(words[3], words[5], step)
        scene.file(words[4], words[5], step, parent=primary.uuid, position=".secondaryFiles[0]")
    elif shape == "handed on":
        old = scene.occurrences[-1].uuid if scene.occurrences else scene.uuid()
        scene.file(words[3], words[5], step, derived_from=(old,))
    elif shape == "late":
        scene.file(words[3], words[5], step)
        scene.occurrences[-1] = _later(scene.occurrences[-1])


def _later(file):
    fields = {name: getattr(file, name) for name in Occurrence.__slots__}
    return Occurrence(**{**fields, "at": BEGIN + timedelta(days=400)})
