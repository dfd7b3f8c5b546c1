"""What Prometheus sees. Names end in their units."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Of one server, in a registry of its own: several servers can live in one process."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)  # resident memory, processor seconds, open files
        self.requests = self._counter("segdino_requests_total", "Answered requests.", "endpoint", "status")
        self.shed = self._counter("segdino_shed_requests_total", "Requests that were not run.", "model", "reason")
        self.request_seconds = self._histogram(
            "segdino_request_seconds", "From a request's head to the end of its answer.", LATENCY_BUCKETS, "endpoint"
        )
        self.engine_seconds = self._histogram(
            "segdino_engine_seconds", "One call of the engine.", LATENCY_BUCKETS, "model"
        )
        self.batch_images = self._histogram("segdino_batch_images", "Images in one call.", BATCH_BUCKETS, "model")
        self.held_requests = self._gauge("segdino_held_requests", "Being read, waiting or running.", "model")
        self.queue_images = self._gauge("segdino_queue_images", "Images that wait for the engine.", "model")

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, registry=self._registry, buckets=buckets)
