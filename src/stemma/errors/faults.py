"""What went wrong in Stemma itself, and what never leaves a worker."""

from stemma.errors.base import StemmaError


class DrawingFailed(StemmaError):
    """The picture could not be made."""

    code = "drawing-failed"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the picture could not be drawn: {reason}")
        self.reason = reason


class ContentDamaged(StemmaError):
    """Bytes do not have the digest that they are known by."""

    code = "content-damaged"

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"content {expected} has the digest {found}")
        self.expected, self.found = expected, found


class ContentMissing(StemmaError):
    """The store does not hold these bytes any more."""

    code = "content-missing"

    def __init__(self, sha256: str) -> None:
        super().__init__(f"content {sha256} is not in the store")
        self.sha256 = sha256


class LeaseLost(StemmaError):
    """Another worker has this run now; what this one knows of it is void."""

    code = "lease-lost"

    def __init__(self, run_id: int) -> None:
        super().__init__(f"the lease of run {run_id} is lost")
        self.run_id = run_id


class EngineLostRun(StemmaError):
    """The engine does not know the run any more (its process died, say)."""

    code = "engine-lost-run"

    def __init__(self, reference: str, reason: str) -> None:
        super().__init__(f"the engine lost run {reference}: {reason}")
        self.reference, self.reason = reference, reason
