"""What cwltool wrote to its log as an error: in many places the only word it gives of why something failed."""

import logging
import threading

_local = threading.local()


class LastErrors(logging.Handler):
    """Keeps the last error of each thread."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        _local.message = record.getMessage()


def forget_last_error() -> None:
    """Forget what this thread said: something new begins."""
    _local.message = None


def last_error() -> str | None:
    """The last error that this thread wrote to the log."""
    message: str | None = getattr(_local, "message", None)
    return message
