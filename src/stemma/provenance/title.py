"""What stands above a picture: what it is of, how it went, who had a part in it, and the legend."""

from html import escape

from stemma.provenance import labels, style
from stemma.provenance.drawing import Drawing
from stemma.records import RunRecord

_LEGEND_COLUMNS = 6
_ARROW = "\N{RIGHTWARDS ARROW}"


def run_title(run: RunRecord, note: str | None, drawing: Drawing) -> str:
    """The title of the picture of a run."""
    revision = run.revision
    rows = [
        _row(_big(f"{labels.plain(revision.name, 50)} : {labels.plain(revision.version, 20)}  #{run.number}")),
        _row(_badges([_state_badge(run), *_agent_badges(run)])),
        _row(_small(" · ".join(_when(run)))),
    ]
    if run.reason:
        colour = style.STATES.get(run.state.value, style.STATES["deleted"])[0]
        rows.append(_row(_small(run.reason, colour, 110)))
    rows += [_row(_small(text)) for text in _notes(run, note)]
    return _table([*rows, legend(drawing)])


def diagram_title(title: str, subtitle: str, drawing: Drawing) -> str:
    """The title of the diagram of a workflow."""
    return _table([_row(_big(title)), _row(_small(subtitle)), legend(drawing)])


def legend(drawing: Drawing) -> str:
    """The kinds of nodes and arrows that occur in ``drawing``, each with its word."""
    kinds = {node.kind for node in drawing.nodes.values()}
    cells = [_swatch(look) for kind, look in style.NODES.items() if kind in kinds]
    arrows = {kind for _, _, kind in drawing.edges}
    words = [
        f"<td>{_small(f'{_ARROW} {word}', colour)}</td>"
        for kind, (colour, word, _) in style.EDGES.items()
        if kind in arrows
    ]
    rows = [cells[start : start + _LEGEND_COLUMNS] for start in range(0, len(cells), _LEGEND_COLUMNS)]
    return "".join(_row(_badges(row)) for row in (*rows, words) if row)


def _swatch(look: style.NodeStyle) -> str:
    frame = f'bgcolor="{look.fill}" border="1" color="{look.border}" style="rounded" cellpadding="3"'
    return f"<td {frame}>{_small(look.legend, look.ink)}</td>"


def _when(run: RunRecord) -> list[str]:
    told = [f"execution {run.id}"]
    if run.started_at is None:
        return [*told, f"submitted {run.submitted_at:%-d %b %Y %H:%M} UTC"]
    told.append(f"started {run.started_at:%-d %b %Y %H:%M:%S} UTC")
    if run.ended_at is not None and run.ended_at >= run.started_at:
        told.append(f"took {labels.duration((run.ended_at - run.started_at).total_seconds())}")
    return told


def _notes(run: RunRecord, note: str | None) -> list[str]:
    notes = []
    if not run.state.is_terminal:
        notes.append("This run has not ended: what is drawn is what is known so far.")
    if run.deleted_at is not None:
        notes.append("This run was deleted; its record stays.")
    if len(run.attempts) > 1:
        notes.append(f"Attempt {len(run.attempts)} of {len(run.attempts)}; the ones before are in the record.")
    if note:
        notes.append(f"Too much for one picture: {note}.")
    return notes


def _state_badge(run: RunRecord) -> str:
    fill, ink = style.STATES.get(run.state.value, style.STATES["deleted"])
    return _badge(run.state.value, fill, ink)


def _agent_badges(run: RunRecord) -> list[str]:
    engine = f"{run.engine} {run.engine_version or ''}".strip()
    people = [f"{run.submitted_by.username} for {run.group.removeprefix('/')}", engine]
    return [_badge(labels.plain(text, 40), style.AGENT_FILL, style.INK) for text in people]


def _badge(text: str, fill: str, ink: str) -> str:
    return f'<td bgcolor="{fill}" style="rounded" border="0" cellpadding="4">{_small(text, ink)}</td>'


def _badges(cells: list[str]) -> str:
    return f'<table border="0" cellborder="0" cellspacing="4"><tr>{"".join(cells)}</tr></table>'


def _table(rows: list[str]) -> str:
    return f'<<table border="0" cellborder="0" cellspacing="0" cellpadding="2">{"".join(rows)}</table>>'


def _row(content: str) -> str:
    return f"<tr><td>{content}</td></tr>"


def _big(text: str) -> str:
    return f'<font point-size="{style.TITLE_POINTS}"><b>{escape(labels.plain(text, 90))}</b></font>'


def _small(text: str, colour: str = style.QUIET, limit: int = 90) -> str:
    return labels.detail(text, colour, limit)
