"""Traces, as a collector gets them: FastAPI's own, over OTLP, and only if a collector is named."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.end_to_end.serving import Running

pytestmark = pytest.mark.slow


class Collector(ThreadingHTTPServer):
    """Keeps what is exported to it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Span] = []
        self.services: set[str] = set()


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {one.key: one.value.string_value for one in resource.resource.attributes}
            self.server.services.add(names["service.name"])
            for scope in resource.scope_spans:
                self.server.spans.extend(scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_search_is_a_span_with_its_stages(tmp_path: Path, running_tiny: Running, collector: Collector) -> None:
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_SERVICE_NAME": "shop",
    }
    with running_tiny(tmp_path / "data", **settings) as server:
        parent = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
        answer = httpx.post(f"{server.url}/search", json={"query": "mug"}, headers=parent, timeout=60)
        assert answer.status_code == 200
        httpx.get(f"{server.url}/health/live", timeout=60)
        server.stop()  # what was not sent yet is sent on the way out
    assert collector.services == {"shop"}
    roots = [span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER]
    assert [span.name for span in roots] == ["POST /search"], "probes are not traced"
    (root,) = roots
    assert root.trace_id.hex() == "ab" * 16, "a trace that the caller began goes on"
    assert root.parent_span_id.hex() == "cd" * 8
    stages = {span.name for span in collector.spans if span.parent_span_id == root.span_id}
    assert {"encode query", "retrieve"} <= stages
