"""What a service counts, for Prometheus. No name or text of a request is among it."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from yosort import __version__

#: Seconds: from a short text on a fast machine to a window of long ones on a slow one.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_COUNTS = tuple(float(1 << n) for n in range(0, 17, 2))


class Metrics:
    """The counters of one service; docs/serving.md says what each is."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        info = Gauge("yosort_info", "1; the version", ["version"], registry=registry)
        info.labels(__version__).set(1)
        self.requests = Counter(
            "yosort_requests", "Requests, by route and status", ["route", "status"],
            registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "yosort_request_seconds", "From a request's first byte to its answer", ["route"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.in_hand = Gauge("yosort_requests_in_hand", "Requests in hand", registry=registry)
        self.waiting = Gauge("yosort_waiting_tokens", "Tokens in the queue", registry=registry)
        self.waited = Histogram(
            "yosort_queue_seconds", "From the queue to the end of a request's last batch",
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.tokens = Counter("yosort_tokens", "Tokens computed", registry=registry)
        self.batch_tokens = Histogram(
            "yosort_batch_tokens", "Tokens of a batch", buckets=_COUNTS, registry=registry
        )
        self.batch_rows = Histogram(
            "yosort_batch_rows", "Rows of a batch", buckets=_COUNTS, registry=registry
        )
        self.batch_seconds = Histogram(
            "yosort_batch_seconds", "Seconds of a batch", buckets=_SECONDS, registry=registry
        )
        self.left = Counter(
            "yosort_clients_gone", "Requests whose client went away", registry=registry
        )

    def text(self) -> bytes:
        """Return all of them as Prometheus reads them."""
        found: bytes = generate_latest(self.registry)
        return found
