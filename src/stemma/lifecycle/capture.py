"""Stations *capture* and *export*: the record of a run as a document, and frozen for good."""

from sqlmodel import Session

from stemma import clock
from stemma.auth.principal import Principal
from stemma.database.queries import captures, contents, people, recorded
from stemma.errors import AlreadyCaptured, RunNotEnded
from stemma.lifecycle import audit
from stemma.lifecycle.audit import Deed
from stemma.lifecycle.installation import Installation
from stemma.provenance.build import build_graph
from stemma.provenance.prov_json import to_prov_json
from stemma.provenance.prov_n import to_prov_n
from stemma.records import Capture, RunRecord


def capture(installation: Installation, principal: Principal, run_id: int) -> Capture:
    """Freeze the record of an ended run: its PROV-JSON goes into the store, its digest on record.

    Raises:
        RunNotFound: no such run for ``principal``.
        RunNotEnded: it still goes on; failed and stopped runs can be captured.
        AlreadyCaptured: it was captured before.
    """
    run = run_record(installation, principal, run_id)
    if not run.state.is_terminal:
        raise RunNotEnded(run_id, run.state.value)
    if run.captured_at is not None:
        raise AlreadyCaptured(run_id)
    sealed = installation.store.put_bytes(prov_json(installation, run))

    def write(session: Session) -> Capture:
        now = clock.now()
        people.remember(session, principal.person, now)
        contents.remember(session, [sealed], now)
        captured = captures.add(session, run_id, sealed.sha256, principal.person, now)
        audit.record(session, principal, Deed.CAPTURE, run_id, group=run.group, now=now)
        return captured

    return installation.database.write(write)


def run_record(installation: Installation, principal: Principal, run_id: int) -> RunRecord:
    """Everything recorded of a run.

    Raises:
        RunNotFound: no such run for ``principal``; a deleted one only when it was captured.
    """
    with installation.database.reading() as session:
        return recorded.visible_run(session, run_id, principal.groups)


def prov_json(installation: Installation, run: RunRecord) -> bytes:
    """What is known of ``run``, as PROV-JSON."""
    return to_prov_json(build_graph(run, installation.settings.public_url))


def prov_n(installation: Installation, run: RunRecord) -> str:
    """What is known of ``run``, as PROV-N."""
    return to_prov_n(build_graph(run, installation.settings.public_url))
