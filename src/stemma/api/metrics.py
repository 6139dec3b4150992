"""Figures for Prometheus. By route and status: never by path, or each id would be a series of its own."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.types import Scope

from stemma.lifecycle.storekeeping.figures import StoreFigures

CONTENT_TYPE = CONTENT_TYPE_LATEST
_NO_ROUTE = "none"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


class Metrics:
    """The figures of one process; those of replication and of the store are alike in all processes."""

    def __init__(self, store: StoreFigures | None = None) -> None:
        self._registry = CollectorRegistry()
        if store is not None:
            self._registry.register(_StoreCollector(store))
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


class _StoreCollector(Collector):
    """What is on record of replication, and what lies in the store and in the archive."""

    def __init__(self, figures: StoreFigures) -> None:
        self._figures = figures

    def describe(self) -> list[Metric]:
        """Nothing: what is not known yet is not told."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Whatever is known now."""
        found = self._figures.replication()
        if found is not None:
            for name, meaning, value in (
                ("hits", "Files from elsewhere that runs found in the store.", found.needs.hits),
                ("misses", "Files from elsewhere that had to be moved for a run.", found.needs.misses),
                ("saved_bytes", "Bytes of the hits, which had not to be moved.", found.needs.saved_bytes),
                ("moved_bytes", "Bytes that transfers brought.", found.moved_bytes),
                ("brought_back", "Of the misses: files that the store had let go.", found.needs.brought_back),
            ):
                yield CounterMetricFamily(f"stemma_replication_{name}", meaning, value)
            yield CounterMetricFamily(
                "stemma_step_wait_seconds",
                "Time that steps waited for files, of waits that are over.",
                found.wait_seconds,
            )
            yield GaugeMetricFamily("stemma_replicas_moving", "Files that are being moved.", found.moving)
        amounts = self._figures.amounts()
        if amounts is not None:
            size = GaugeMetricFamily("stemma_store_bytes", "What lies in the store.", labels=("kind",))
            for kind, amount in amounts.items():
                size.add_metric((kind,), amount.size_bytes)
            yield size
        archived = self._figures.archived()
        if archived is not None:
            for name, meaning, value in (
                ("files", "Files that lie in the archive.", archived.files),
                ("bytes", "Bytes of the files that lie in the archive.", archived.size_bytes),
                ("waiting_files", "Files that are still to be archived.", archived.waiting),
                ("waiting_bytes", "Bytes of the files that are still to be archived.", archived.waiting_bytes),
                ("failed_files", "Of the waiting files: those that could not be archived so far.", archived.troubled),
            ):
                yield GaugeMetricFamily(f"stemma_archive_{name}", meaning, value)
