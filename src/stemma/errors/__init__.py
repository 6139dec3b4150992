"""Everything that Stemma refuses or fails at, one class a reason.

    StemmaError
      NotAuthenticated        401   no valid token
      Forbidden               403   the role does not allow it
        AlreadyCaptured             the record of the run is sealed
      NotFound                404   no such thing, or not for this principal: no difference to be seen
        WorkflowNotFound
        RevisionNotFound
        RunNotFound
        FileNotFound
        StepNotFound
        CaptureNotFound
        EngineNotFound
        CredentialNotFound          nobody has shown an engine who they are
        RemoteNotFound
        PlaceholderNotFound         a placeholder of an input leads nowhere
        SourceNotFound              nothing lies at an address elsewhere
      InvalidRequest          422   what was asked cannot be understood
        GroupRequired               a writer in several groups must name one
        InvalidDocument             not valid CWL (findings)
        InvalidInputs               the inputs do not fit the workflow (findings)
        EngineUnsuitable            the engine cannot run this workflow (findings)
        UnknownEngine
        AddressRefused              an address elsewhere that this service does not ask
        SourceUnusable              what lies there cannot be taken
        SourceForbidden             its server does not give it to who we say we are
        DigestMismatch              what lies there is not what was expected
      DuplicateWorkflow       400   the group has this name and version
      AmbiguousSelection      403   both ways of naming runs to delete, or neither
      Conflict                409
        RunNotEnded                 asked for what only an ended run has
        RunEnded                    asked to stop what has ended
        EntryChanging               others change the entry all the time
        InputGone                   a file that the inputs name is not in the store any more
        SourceChanged               what lies elsewhere is not what it was
        RemoteExists                its owner has a remote of that name
        RemoteChanging              others change the remote at the same moment
      TooLarge                413   over a limit of size
      RangeUnsatisfiable      416   a part was asked for that lies behind the end
      Unavailable             503   come back later
        EngineUnreachable
        DatabaseUnavailable
        ValidatorUnavailable
        CredentialUnreadable        it was sealed with another key
        RemoteUnreadable            the same of the credentials of a remote
        StorageFull
        SourceUnavailable           a server elsewhere does not answer
        ArchiveUnavailable          the archive does not answer, or takes nothing
        TooManyFetches              as many submissions as may be look at inputs elsewhere
        TooManyTransfers            as many requests to remotes as may be are under way
      EngineRefused           503   the engine will not do it, however often it is asked
      DrawingFailed           500
      ContentDamaged          500   stored bytes do not have their digest
      ContentMissing          500   stored bytes are gone
      LeaseLost               —     another worker has the run now; never leaves the worker
      EngineLostRun           —     the engine does not know the run any more

Each carries the facts of its case as attributes. HTTP statuses are said here once and used by the
API alone; ``exit_code`` is what the command line ends with.
"""

from stemma.errors.absent import (
    CaptureNotFound,
    CredentialNotFound,
    EngineNotFound,
    FileNotFound,
    NotFound,
    PlaceholderNotFound,
    RemoteNotFound,
    RevisionNotFound,
    RunNotFound,
    SourceNotFound,
    StepNotFound,
    WorkflowNotFound,
)
from stemma.errors.base import (
    Finding,
    StemmaError,
)
from stemma.errors.conflicts import (
    Conflict,
    DuplicateWorkflow,
    EntryChanging,
    InputGone,
    RemoteChanging,
    RemoteExists,
    RunEnded,
    RunNotEnded,
    SourceChanged,
)
from stemma.errors.denied import (
    AlreadyCaptured,
    AmbiguousSelection,
    Forbidden,
    NotAuthenticated,
)
from stemma.errors.faults import (
    ContentDamaged,
    ContentMissing,
    DrawingFailed,
    EngineLostRun,
    LeaseLost,
)
from stemma.errors.invalid import (
    AddressRefused,
    DigestMismatch,
    EngineUnsuitable,
    GroupRequired,
    InvalidDocument,
    InvalidInputs,
    InvalidRequest,
    RangeUnsatisfiable,
    SourceForbidden,
    SourceUnusable,
    TooLarge,
    UnknownEngine,
)
from stemma.errors.unavailable import (
    ArchiveUnavailable,
    CredentialUnreadable,
    DatabaseUnavailable,
    EngineRefused,
    EngineUnreachable,
    RemoteUnreadable,
    SourceUnavailable,
    StorageFull,
    TooManyFetches,
    TooManyTransfers,
    Unavailable,
    ValidatorUnavailable,
)

__all__ = [
    "AddressRefused",
    "AlreadyCaptured",
    "AmbiguousSelection",
    "ArchiveUnavailable",
    "CaptureNotFound",
    "Conflict",
    "ContentDamaged",
    "ContentMissing",
    "CredentialNotFound",
    "CredentialUnreadable",
    "DatabaseUnavailable",
    "DigestMismatch",
    "DrawingFailed",
    "DuplicateWorkflow",
    "EngineLostRun",
    "EngineNotFound",
    "EngineRefused",
    "EngineUnreachable",
    "EngineUnsuitable",
    "EntryChanging",
    "FileNotFound",
    "Finding",
    "Forbidden",
    "GroupRequired",
    "InputGone",
    "InvalidDocument",
    "InvalidInputs",
    "InvalidRequest",
    "LeaseLost",
    "NotAuthenticated",
    "NotFound",
    "PlaceholderNotFound",
    "RangeUnsatisfiable",
    "RemoteChanging",
    "RemoteExists",
    "RemoteNotFound",
    "RemoteUnreadable",
    "RevisionNotFound",
    "RunEnded",
    "RunNotEnded",
    "RunNotFound",
    "SourceChanged",
    "SourceForbidden",
    "SourceNotFound",
    "SourceUnavailable",
    "SourceUnusable",
    "StemmaError",
    "StepNotFound",
    "StorageFull",
    "TooLarge",
    "TooManyFetches",
    "TooManyTransfers",
    "Unavailable",
    "UnknownEngine",
    "ValidatorUnavailable",
    "WorkflowNotFound",
]
