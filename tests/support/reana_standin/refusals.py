"""Answers that are no success: ``{"message": ...}`` with a status."""


class Refused(Exception):
    """The server says no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class UnknownWorkflow(Refused):
    """Not there, or somebody else's: the words are the same, whatever went wrong."""

    def __init__(self, asked: str, status: int = 404) -> None:
        super().__init__(
            status,
            f"REANA_WORKON is set to {asked}, but that workflow does not exist. "
            "Please set your REANA_WORKON environment variable appropriately.",
        )
