"""What Prometheus sees. One registry an application, so that two in one process do not share counters."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The instruments, by what they measure."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.requests = Counter(
            "search_http_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "search_http_request_seconds",
            "Time from the request's head to the answer's end.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.stage_seconds = Histogram(
            "search_stage_seconds",
            "Time spent in one stage: decode, queue, encode, retrieve, store.",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_size = Histogram(
            "search_encoder_batch_size",
            "Inputs in one run of the model.",
            ["kind"],
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=self.registry,
        )
        self.queue_depth = Gauge("search_encoder_queue_depth", "Inputs waiting for the model.", registry=self.registry)
        self.rejected = Counter(
            "search_encoder_rejected", "Inputs refused because the queue was full.", registry=self.registry
        )
        self.dropped = Counter(
            "search_encoder_dropped", "Inputs never encoded because their client had gone.", registry=self.registry
        )
        self.cache = Counter(
            "search_query_cache", "Look-ups of a query's embedding.", ["result"], registry=self.registry
        )
        self.feedback = Counter(
            "search_feedback", "What shoppers did with hits, as they told.", ["action"], registry=self.registry
        )
        self.items = Gauge("search_index_items", "Items in the index.", registry=self.registry)
        self.model = Info("search_model", "The retriever that is loaded.", registry=self.registry)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures a block as a stage, failed or not."""
        started = perf_counter()
        try:
            yield
        finally:
            self.stage_seconds.labels(name).observe(perf_counter() - started)
