"""Whether an engine can run a document that is not registered: the same check as at submission, and nothing is kept."""

from stemma import clock
from stemma.auth.principal import Principal
from stemma.engines.protocol import Owner
from stemma.errors import EngineUnsuitable
from stemma.lifecycle.acting import engine_for
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.validate import Validated
from stemma.records import BundleFile, RevisionRecord
from stemma.store.content import ContentStore
from stemma.store.lending import lending


def check_engine(installation: Installation, principal: Principal, validated: Validated, name: str) -> None:
    """Return when the engine of that name can run a document that was found to be valid.

    Raises:
        UnknownEngine: there is none of that name.
        EngineUnsuitable: it cannot run the document faithfully; findings say why.
        EngineUnreachable, EngineRefused: it cannot say now.
    """
    owner = Owner(principal.subject, principal.groups[0] if principal.groups else "")
    engine = engine_for(installation.engines, name, owner)
    with lending() as store:
        found = engine.check(_revision(validated, principal, store), installation.settings.containers)
    if found:
        raise EngineUnsuitable(name, found)


def _revision(validated: Validated, principal: Principal, store: ContentStore) -> RevisionRecord:
    """The document as if it were registered, its files in ``store``."""
    runnable = validated.checked.bundle_for_execution
    return RevisionRecord(
        workflow_id=0,
        group="",
        name=validated.spec.name,
        version="",
        number=1,
        created_at=clock.now(),
        created_by=principal.person,
        digest=validated.digest,
        main_path=runnable.main_path,
        structure=validated.checked.structure,
        files=tuple(BundleFile(path, store.put_bytes(runnable.read(path))) for path in sorted(runnable.files)),
    )
