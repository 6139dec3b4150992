"""Figures for Prometheus. By route and status: never by path, or each id would be a series of its own."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import Scope

CONTENT_TYPE = CONTENT_TYPE_LATEST
_NO_ROUTE = "none"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


class Metrics:
    """The figures of one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "stemma_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "stemma_request_seconds", "Time to the end of an answer.", ("route",), registry=self._registry
        )

        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        """Those that were asked for already: looking one up by its labels takes longer than counting."""

    def note(self, scope: Scope, status: int, seconds: float) -> None:
        """Count an answered request; status 0 is one whose caller went away."""
        route = getattr(scope.get("route"), "path_format", _NO_ROUTE)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        figures = self._known.get((method, route, status))
        if figures is None:
            figures = self._requests.labels(method, route, status), self._seconds.labels(route)
            self._known[method, route, status] = figures
        count, duration = figures
        count.inc()
        duration.observe(seconds)

    def exposed(self) -> bytes:
        """All figures, as Prometheus reads them."""
        return generate_latest(self._registry)
