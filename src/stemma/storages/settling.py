"""What was just written, looked at: some servers show it a moment after they have taken it."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from stemma.errors import SourceNotFound

T = TypeVar("T")

_LOOKS: Final = 50
_PAUSE_SECONDS: Final = 0.1


def settled(look: Callable[[], T]) -> T:
    """What ``look`` gives, tried again for some seconds where it finds nothing.

    Raises:
        SourceNotFound: nothing came.
    """
    for _ in range(_LOOKS):
        try:
            return look()
        except SourceNotFound:
            time.sleep(_PAUSE_SECONDS)
    return look()
