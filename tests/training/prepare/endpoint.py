"""A real HTTP server on loopback that speaks the protocol of chat completions, and misbehaves when it is told to."""

import base64
import contextlib
import hashlib
import io
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

PHRASES = (
    "A {} thing seen from the front.",
    "Plain {} product, evenly lit.",
    "Something {} for every home.",
    "{} again.",
)


@dataclass
class Reply:
    """What the server does with one request."""

    status: int = 200
    content: str | None = None  # of the answer; None: a good one
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None  # in place of the whole answer
    finish_reason: str = "stop"
    error: dict[str, Any] = field(default_factory=lambda: {"message": "told to fail", "code": "told_to_fail"})
    cut: bool = False  # close the connection in the middle of the body
    wait_for: threading.Event | None = None  # answer only when it is set


Behaviour = Callable[[int, dict[str, Any]], Reply]


class Endpoint:
    """`asked` counts requests by what they ask; `paid` those that were answered with 200 to the last byte."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.behave: Behaviour = lambda number, request: Reply()
        self.asked: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.requests: list[dict[str, Any]] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    @property
    def settings(self) -> dict[str, str]:
        return {"PREPARE_BASE_URL": self.url, "PREPARE_API_KEY": "key", "PREPARE_TIMEOUT": "20"}


def subject(request: dict[str, Any]) -> str:
    """What a request asks about: its text, or its picture."""
    content = request["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    return hashlib.sha256(content[0]["image_url"]["url"].encode()).hexdigest()


def good_answer(request: dict[str, Any]) -> str:
    """English for a text; as many captions as the prompt wants for a picture, named after its mean colour."""
    content = request["messages"][-1]["content"]
    if isinstance(content, str):
        return ENGLISH.get(content, f"english {hashlib.sha256(content.encode()).hexdigest()[:6]}")
    data = base64.b64decode(content[0]["image_url"]["url"].partition(",")[2])
    red, green, blue = Image.open(io.BytesIO(data)).convert("RGB").resize((1, 1)).getpixel((0, 0))  # type: ignore[misc]
    wanted = int(content[1]["text"].partition("exactly ")[2].split()[0])
    names = {"a": red, "b": green, "c": blue}
    colour = "".join(f"{name}{value}" for name, value in names.items())
    return json.dumps({"captions": [phrase.format(colour) for phrase in PHRASES[:wanted]]})


ENGLISH = {"红色杯子": "red mug", "蓝色 lamp": "blue lamp", "颜色": "colour", "杯子": "mug"}


@contextlib.contextmanager
def serving() -> Iterator[Endpoint]:
    """A running endpoint, gone afterwards."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with endpoint.lock:
                number = len(endpoint.requests)
                endpoint.requests.append(request)
                endpoint.asked[subject(request)] += 1
                endpoint.at_once += 1
                endpoint.most_at_once = max(endpoint.most_at_once, endpoint.at_once)
            try:
                self.answer(request, endpoint.behave(number, request))
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                with endpoint.lock:
                    endpoint.at_once -= 1

        def answer(self, request: dict[str, Any], reply: Reply) -> None:
            if reply.wait_for is not None:
                reply.wait_for.wait(60)
            content = good_answer(request) if reply.content is None else reply.content
            body: dict[str, Any] = {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": request["model"],
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": reply.finish_reason,
                        "message": {"role": "assistant", "content": content},
                    }
                ],
                "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
            }
            if reply.status != 200:
                body = {"error": reply.error}
            encoded = json.dumps(body).encode() if reply.body is None else reply.body
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            if reply.cut:
                self.wfile.write(encoded[: len(encoded) // 2])
                self.close_connection = True
                return
            if reply.status == 200:
                with endpoint.lock:
                    endpoint.paid[subject(request)] += 1
            self.wfile.write(encoded)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
