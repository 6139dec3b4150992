"""The way in for programs."""

from types import TracebackType
from typing import Any, Self

from stemma.client.connection import Connection
from stemma.client.engines import Engines
from stemma.client.issuer import LoginWays, login_ways
from stemma.client.provenance import Provenance
from stemma.client.remotes import Remotes
from stemma.client.runs import Runs
from stemma.client.tokens import Tokens
from stemma.client.workflows import Workflows


class Client:
    """A service at ``base_url``, asked with ``tokens``. A context manager that hangs up at its end.

    Refusals are raised as the classes of ``stemma.errors``. One thread at a time may use it; several clients, and so
    several threads, may share ``tokens``. A service that goes away
    while a run is watched is waited for, ``patience_seconds`` at most.
    """

    def __init__(
        self,
        base_url: str,
        tokens: Tokens | None = None,
        *,
        timeout_seconds: float = 60.0,
        patience_seconds: float = 120.0,
    ) -> None:
        self._tokens, self._timeout_seconds, self._patience_seconds = tokens, timeout_seconds, patience_seconds
        self._connection = Connection(base_url, tokens, timeout_seconds)
        self.workflows = Workflows(self._connection)
        self.runs = Runs(self._connection, patience_seconds)
        self.provenance = Provenance(self._connection)
        self.engines = Engines(self._connection)
        self.remotes = Remotes(self._connection)

    @property
    def url(self) -> str:
        """Where the service is."""
        return self._connection.url

    def beside(self) -> "Client":
        """Another client of the same service with the same tokens: for another thread. It hangs up by itself."""
        return Client(
            self.url, self._tokens, timeout_seconds=self._timeout_seconds, patience_seconds=self._patience_seconds
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def whoami(self) -> Any:
        """Who the service takes us for: name, groups, roles.

        Raises:
            NotAuthenticated: the token does not hold.
        """
        return self._connection.get("/whoami")

    def health(self) -> Any:
        """Whether anybody is there.

        Raises:
            ServiceUnreachable: nobody is.
        """
        return self._connection.get("/healthz")

    def readiness(self) -> Any:
        """Each part of the service and whether it answers.

        Raises:
            Unavailable: one does not.
        """
        return self._connection.get("/readyz")

    def metrics(self) -> str:
        """The service's figures, as Prometheus reads them.

        Raises:
            NotAuthenticated: the token does not hold.
        """
        return self._connection.text("/metrics")

    def login_ways(self) -> LoginWays:
        """Where and how tokens of the service are got.

        Raises:
            UntrustedAddress: at an address that must not be given secrets.
        """
        return login_ways(self.url)
