"""Addresses that open what they lead to (a presigned URL does), sealed before they are written down.

What is kept of one is its shown form, with the seal as its query: whoever reads the database sees the place, and cannot
ask there.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from stemma.database.queries.demand import Sought
from stemma.database.queries.replicas import Replica
from stemma.errors import SourceUnusable
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.sources import shown

MARK: Final = "stemma-sealed="


def kept(installation: Installation, group: str, sought: Iterable[Sought]) -> list[Sought]:
    """``sought`` with their addresses as they are to be written down."""
    return [_kept(installation, group, one) for one in sought]


def opened(installation: Installation, replica: Replica) -> Replica:
    """``replica`` with the address that its source is asked at.

    Raises:
        SourceUnusable: the address was sealed with another key.
    """
    seal = seal_in(replica.address)
    if seal is None:
        return replica
    from stemma.auth.sealing import SealBroken  # noqa: PLC0415 - loads what encrypts

    try:
        address = installation.remotes.opened_text(seal, purpose_of(replica.group))
    except SealBroken as error:
        reason = (
            "its address holds a key, and was sealed with a key that the service does not have any more; submit again"
        )
        raise SourceUnusable(shown(replica.address), reason) from error
    return replace(replica, address=address)


def purpose_of(group: str) -> tuple[str, str]:
    """What an address of a group is sealed for."""
    return "address", group


def seal_in(address: str) -> str | None:
    """The seal in an address as it is written down; None where there is none."""
    _, found, seal = address.partition(f"?{MARK}")
    return seal if found else None


def with_seal(address: str, seal: str) -> str:
    """An address as it is written down."""
    parts = urlsplit(shown(address))
    return urlunsplit((parts.scheme, parts.netloc, parts.path, f"{MARK}{seal}", ""))


def _kept(installation: Installation, group: str, sought: Sought) -> Sought:
    # An address with our mark in it is nobody's own: taken as it stands it would be opened later.
    if shown(sought.address) == sought.address and MARK not in sought.address:
        return sought
    seal = installation.remotes.sealed_text(sought.address, purpose_of(group))
    return replace(sought, kept=with_seal(sought.address, seal))
