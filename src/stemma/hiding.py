"""What in the queries of URLs may give access to something: one rule for all that is shown of addresses."""

import re
from typing import Final

_NAMES: Final = re.compile(
    r"sig|token|secret|key|credential|pass|pwd|^pw$|auth|access|jwt|code|ticket|session|^sid$|mac|hash|policy|x-amz|x-goog",
    re.IGNORECASE,
)
_LONG: Final = re.compile(r"[\w+/=.%-]{20,}")


def may_be_a_key(name: str, value: str) -> bool:
    """Whether ``name=value`` in a query may give access: by its name, or since it is as long as keys are. A single
    word may as well, and an address with a query of its own."""
    if not value or _NAMES.search(name) is not None or _LONG.search(value) is not None:
        return True
    return "=" in value and _NAMES.search(value) is not None
