"""What Prometheus sees. One registry an application, so that two in one process do not share counters."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

from opentelemetry import trace
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

tracer = trace.get_tracer("product-search")  # does nothing until a collector is configured

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The instruments, by what they measure."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        # The embedded engine has a process to itself, which holds the index.
        self.engine_pid: Callable[[], int | None] = lambda: None
        ProcessCollector("engine", lambda: self.engine_pid() or "none", registry=self.registry)
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
        self.refused = Counter(
            "search_http_refused",
            "Requests refused at the door, by the problem's code.",
            ["code"],
            registry=self.registry,
        )
        self.stage_seconds = Histogram(
            "search_stage_seconds",
            "Time spent in one stage: decode, queue, encode, retrieve, rerank, store.",
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
        self.queue_limit = Gauge(
            "search_encoder_queue_limit", "Inputs that the model takes on at most.", registry=self.registry
        )
        self.rejected = Counter(
            "search_encoder_rejected", "Inputs refused because the queue was full.", registry=self.registry
        )
        self.dropped = Counter(
            "search_encoder_dropped", "Inputs never encoded because their client had gone.", registry=self.registry
        )
        self.cache = Counter(
            "search_query_cache", "Look-ups of a query's embedding.", ["result"], registry=self.registry
        )
        self.events = Counter("search_events", "Events of shoppers that were kept.", ["kind"], registry=self.registry)
        self.answers = Counter(
            "search_answers", "Searches answered, by whether anything was found.", ["result"], registry=self.registry
        )
        self.bulk_lines = Counter(
            "search_bulk_lines", "Lines of bulk uploads, by what became of each.", ["status"], registry=self.registry
        )
        self.items = Gauge("search_index_items", "Items in the index.", registry=self.registry)
        self.index_up = Gauge("search_index_up", "1 if the index answers, 0 if not.", registry=self.registry)
        self.disk_free = Gauge("search_disk_free_bytes", "Room left where the data folder is.", registry=self.registry)
        self.disk_size = Gauge("search_disk_size_bytes", "Room there in all.", registry=self.registry)
        self.model = Info("search_model", "The retriever that is loaded.", registry=self.registry)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures a block as a stage, failed or not; where requests are traced, it is a span as well."""
        started = perf_counter()
        try:
            with tracer.start_as_current_span(name):
                yield
        finally:
            self.stage_seconds.labels(name).observe(perf_counter() - started)
