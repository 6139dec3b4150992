"""What all requests of a process share."""

from dataclasses import dataclass, field
from typing import Final

from anyio import CapacityLimiter

from stemma.api.identity import Identity
from stemma.api.streams import OpenStreams
from stemma.api.transfers import Transfers
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.probing import EngineProbes

_AUDITING_THREADS: Final = 4


@dataclass(frozen=True, slots=True)
class Service:
    """What requests work with."""

    installation: Installation
    identity: Identity
    verifying: CapacityLimiter
    """Threads that look at tokens not seen before; bounded, so that garbage does not take those of the routes."""
    looking: CapacityLimiter
    """Threads in which open streams look for news; bounded for the same reason."""
    probes: EngineProbes
    """Whether the engines elsewhere answer."""
    transfers: Transfers
    """The requests to remotes, in threads of their own."""
    auditing: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(_AUDITING_THREADS))
    """Threads that write down refusals; bounded for the same reason."""
    streams: OpenStreams = field(default_factory=OpenStreams)
    """Who has how many streams open."""
