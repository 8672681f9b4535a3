"""Pictures by URL: every way round the rule that is known, against a real server on this machine.

The tests let exactly one private address in, by the constructor; no setting does.
"""

import asyncio
import hashlib
import http.server
import ipaddress
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.fetch import _PORTS, PictureFetcher, is_public
from service.problems import Problem
from service.resolver import Resolver
from service.settings import Settings
from tests.service.helpers import picture_file, post_item
from tests.service.test_problems import check

PICTURE = picture_file("red")


class Handler(http.server.BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []
    hosts: ClassVar[list[str]] = []
    encodings: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.hosts.append(self.headers["Host"])
        self.encodings.append(self.headers["Accept-Encoding"])
        port = self.server.server_address[1]
        redirects = {
            "/to-picture": "/picture.png",
            "/to-private": f"http://10.0.0.1:{port}/secret",
            "/to-loopback": f"http://localhost:{port}/secret",
            "/to-file": "file:///etc/passwd",
            "/round": "/round",
            "/to-nothing": "http://[",
            "/to-missing": "/missing",
            "/to-utf-8": "/bü.png".encode().decode("latin-1"),  # as some servers write it
            "/to-nowhere": "",
            **{f"/moved-{status}": "/picture.png" for status in (301, 303, 307, 308)},
        }
        if self.path in redirects:
            self.send_response(int(self.path[-3:]) if self.path.startswith("/moved-") else 302)
            if redirects[self.path]:
                self.send_header("Location", redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path == "/slow":
            time.sleep(1.5)
        self.send_response({"/missing": 404, "/part": 206}.get(self.path, 200))
        if self.path != "/endless":
            self.send_header("Content-Length", str(len(PICTURE) + (self.path == "/cut-off")))
        self.end_headers()
        try:
            self.wfile.write(PICTURE if self.path != "/page" else b"<html>".ljust(len(PICTURE)))
            while self.path == "/endless":
                self.wfile.write(b"x" * 10_000)
        except OSError:
            pass

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[int]:
    """The port of a server on loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def forget() -> None:
    Handler.asked.clear()
    Handler.hosts.clear()
    Handler.encodings.clear()


NAMES = {"shop.example": ["127.0.0.1"], "two.example": ["127.0.0.1", "10.0.0.1"], "bad.example": ["10.0.0.1"]}


def fetcher(*ports: int, names: dict[str, list[str]] = NAMES, **changed: Any) -> PictureFetcher:
    """One that reaches the test's server by the name shop.example, or by 127.0.0.1 if that is what a host means."""

    async def looked_up(host: str, port: int) -> Sequence[str]:
        return names[host] if host in names else await Resolver(1, 10).addresses(host, port)

    options: dict[str, Any] = {"max_pictures": 8, "max_bytes": 100_000, "max_item_bytes": 200_000, "seconds": 10}
    options |= {"resolve": looked_up, **changed}
    if ports:
        options["ports"] = ports
    return PictureFetcher(enabled=True, **options)


def on_loopback(address: Any) -> bool:
    return bool(address == ipaddress.ip_address("127.0.0.1"))


def problem_of(getter: PictureFetcher, *urls: str) -> Problem:
    with pytest.raises(Problem) as caught:
        asyncio.run(getter.fetch_all(urls))
    return caught.value


def test_a_picture_comes_over(web: int) -> None:
    getter = fetcher(web, permitted=on_loopback)
    urls = [f"http://shop.example:{web}/picture.png?size=2", f"http://shop.example:{web}/to-picture"]
    contents = asyncio.run(getter.fetch_all(urls))
    assert [content.read() for content in contents] == [PICTURE, PICTURE]
    assert sorted(Handler.asked) == ["/picture.png", "/picture.png?size=2", "/to-picture"]
    assert set(Handler.hosts) == {f"shop.example:{web}"}
    assert set(Handler.encodings) == {"identity"}, "what comes is taken as it is"


def test_a_path_is_taken_as_browsers_take_it(web: int) -> None:
    paths = ["bü.png", "a b.png", "b%C3%BC.png?text=ü", "to-utf-8"]
    asyncio.run(fetcher(web, permitted=on_loopback).fetch_all([f"http://shop.example:{web}/{path}" for path in paths]))
    asked = {"/b%C3%BC.png", "/a%20b.png", "/b%C3%BC.png?text=%C3%BC", "/to-utf-8"}
    assert set(Handler.asked) == asked
    assert Handler.asked.count("/b%C3%BC.png") == 2


def test_a_redirect_to_nowhere_is_told_as_such(web: int) -> None:
    problem = problem_of(fetcher(web, permitted=on_loopback), f"http://shop.example:{web}/to-nowhere")
    assert (problem.code, "answered 302 without saying where to" in problem.detail) == ("url_failed", True)


@pytest.mark.parametrize("status", [301, 303, 307, 308])
def test_a_picture_that_has_moved_is_fetched_from_where_it_is(web: int, status: int) -> None:
    (content,) = asyncio.run(
        fetcher(web, permitted=on_loopback).fetch_all([f"http://shop.example:{web}/moved-{status}"])
    )
    assert content.read() == PICTURE


@pytest.mark.parametrize(
    ("host", "resolved", "sent"),
    [
        ("bücher.example", "xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("[2001:db8::1]", "2001:db8::1", "[2001:db8::1]"),
    ],
)
def test_a_host_is_told_its_own_name_as_the_web_writes_it(web: int, host: str, resolved: str, sent: str) -> None:
    getter = fetcher(web, permitted=on_loopback, names={resolved: ["127.0.0.1"]})
    (content,) = asyncio.run(getter.fetch_all([f"http://{host}:{web}/picture.png"]))
    assert content.read() == PICTURE
    assert Handler.hosts == [f"{sent}:{web}"]


def test_a_usual_port_is_no_part_of_a_hosts_name(web: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_PORTS, "http", web)
    asyncio.run(fetcher(web, permitted=on_loopback).fetch_all(["http://shop.example/picture.png"]))
    assert Handler.hosts == ["shop.example"]


LOOPBACK = [
    "127.0.0.1",
    "127.1",
    "127.0.0.1.",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "0.0.0.0",
    "0",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[::127.0.0.1]",
    "\uff11\uff12\uff17.0.0.1",
    "\u2460\u2461\u2466.0.0.1",
    "127\u30020\u30020\u30021",
]


@pytest.mark.parametrize("host", LOOPBACK)
def test_this_machine_by_any_name(web: int, host: str) -> None:
    problem = problem_of(fetcher(web), f"http://{host}:{web}/secret")
    assert (problem.status, problem.code) == (422, "url_refused"), problem.detail
    assert not Handler.asked


@pytest.mark.parametrize(
    "host",
    ["10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "100.100.100.200"],
)
def test_private_networks_and_metadata(host: str) -> None:
    assert problem_of(fetcher(), f"http://{host}/latest/meta-data/").code == "url_refused"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://shop.example/a.png",
        "gopher://shop.example/",
        "data:image/png;base64,AAAA",
        "//shop.example/a.png",
        "shop.example/a.png",
        "/etc/passwd",
        "http://",
        "http:///a.png",
        "http://user@shop.example/",
        "http://shop.example@10.0.0.1/",
        "http://10.0.0.1#@shop.example/",
        "http://10.0.0.1\\@shop.example/",
        "http://shop.example:22/",
        "http://shop.example:6333/collections",
        "http://shop.example:0/",
        "http://shop.example:99999/",
        "http://shop.example/a\r\nX-Evil: 1",
        "http://shop .example/a.png",
        "http://-ü.example/",
        "http://shop.example\x00.evil/",
        "http://[::1/",
        "http://no-such-host.invalid/",
        "http://a..example/",
        f"http://{'a' * 70}.example/",
        "http://bad.example/",
        "http://two.example/",
    ],
)
def test_what_is_no_public_url(url: str) -> None:
    def only_listed(address: Any) -> bool:
        return on_loopback(address)

    problem = problem_of(fetcher(permitted=only_listed, names={**NAMES, "no-such-host.invalid": []}), url)
    assert (problem.status, problem.code) == (422, "url_refused"), problem.detail
    assert "10.0.0.1" not in problem.detail.replace(url, "").replace(repr(url), ""), "not what the name led to"


@pytest.mark.parametrize("path", ["/to-private", "/to-loopback", "/to-file", "/round", "/to-nothing"])
def test_every_redirect_is_judged(web: int, path: str) -> None:
    names = {"shop.example": ["127.0.0.1"], "localhost": ["::1"]}
    problem = problem_of(fetcher(web, permitted=on_loopback, names=names), f"http://shop.example:{web}{path}")
    assert problem.code == "url_refused"
    assert "/secret" not in Handler.asked
    assert len(Handler.asked) == (4 if path == "/round" else 1)


def test_a_name_is_resolved_once(web: int) -> None:
    """DNS rebinding: public when it is judged, private when it is connected to."""
    answers = [["127.0.0.1"], ["10.0.0.1"]]

    async def rebinding(host: str, port: int) -> list[str]:
        return answers.pop(0)

    getter = fetcher(web, permitted=on_loopback, resolve=rebinding)
    (content,) = asyncio.run(getter.fetch_all([f"http://shop.example:{web}/picture.png"]))
    assert content.read() == PICTURE
    assert len(answers) == 1


@pytest.mark.parametrize("addresses", [["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"]])
def test_of_a_hosts_addresses_one_that_answers_is_enough(web: int, addresses: list[str]) -> None:
    async def two(host: str, port: int) -> list[str]:
        return addresses  # nothing listens at the one that ends in 2

    getter = fetcher(web, permitted=lambda address: address.is_loopback, resolve=two)
    (content,) = asyncio.run(getter.fetch_all([f"http://shop.example:{web}/picture.png"]))
    assert content.read() == PICTURE


def test_no_more_than_sixteen_are_fetched_at_a_time() -> None:
    running, most = 0, 0

    async def counted(host: str, port: int) -> list[str]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(10):  # as long as others may begin
            await asyncio.sleep(0)
        running -= 1
        raise OSError

    getter = fetcher(resolve=counted)

    async def main() -> None:
        one_each = (getter.fetch_all([f"http://{n}.example/"]) for n in range(40))
        assert all(isinstance(one, Problem) for one in await asyncio.gather(*one_each, return_exceptions=True))

    asyncio.run(main())
    assert most == 16


def test_the_time_begins_when_it_is_a_pictures_turn() -> None:
    async def looked_up(host: str, port: int) -> list[str]:
        if host == "last.example":
            raise OSError
        await asyncio.Event().wait()
        return []

    async def main() -> None:
        getter = fetcher(resolve=looked_up, seconds=0.3)
        urls = [*(f"http://{n}.example/" for n in range(16)), "http://last.example/"]
        *slow, last = await asyncio.gather(*(getter.fetch_all([url]) for url in urls), return_exceptions=True)
        assert all("0.3 s" in str(one) for one in slow)
        assert "no address" in str(last)

    asyncio.run(main())


def test_the_first_problem_ends_the_others() -> None:
    ended: list[str] = []

    async def main() -> None:
        begun = asyncio.Event()

        async def looked_up(host: str, port: int) -> list[str]:
            if host == "bad.example":
                await begun.wait()
                raise OSError
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(host)
            return []

        getter = fetcher(resolve=looked_up)
        with pytest.raises(Problem, match="no address"):
            await getter.fetch_all(["http://slow.example/", "http://bad.example/"])
        await asyncio.sleep(0)
        assert ended == ["slow.example"]

    asyncio.run(main())


def test_size_and_time_are_bounded(web: int) -> None:
    getter = fetcher(web, permitted=on_loopback, seconds=1)
    assert problem_of(getter, f"http://shop.example:{web}/endless").code == "file_too_large"
    slow = problem_of(getter, f"http://shop.example:{web}/slow")
    assert (slow.code, "1 s" in slow.detail) == ("url_failed", True)
    together = fetcher(web, permitted=on_loopback, max_item_bytes=2 * len(PICTURE) - 1)
    assert problem_of(together, *[f"http://shop.example:{web}/picture.png"] * 2).code == "body_too_large"
    exact = fetcher(web, permitted=on_loopback, max_bytes=len(PICTURE), max_item_bytes=2 * len(PICTURE))
    assert len(asyncio.run(exact.fetch_all([f"http://shop.example:{web}/picture.png"] * 2))) == 2
    assert "404" in problem_of(getter, f"http://shop.example:{web}/missing").detail
    led_on = problem_of(getter, f"http://shop.example:{web}/to-missing").detail
    assert "/to-missing' answered 404" in led_on, "not where it led to"
    assert "206" in problem_of(getter, f"http://shop.example:{web}/part").detail
    assert problem_of(getter, f"http://shop.example:{web}/cut-off").code == "url_failed"
    assert problem_of(getter, f"https://shop.example:{web}/picture.png").code == "url_failed", "it speaks no TLS"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("64:ff9b::5db8:d70e", True),
        ("::ffff:93.184.215.14", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("168.63.129.16", False),
        ("192.0.0.192", False),
        ("192.0.2.1", False),
        ("192.88.99.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::ffff:10.0.0.1", False),
        ("::10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b:1::1", False),
        ("2002:a00:1::", False),
        ("2001:0:a00:1::", False),
        ("2001:db8::1", False),
        ("3fff::1", False),
        ("5f00::1", False),
        ("fc00::1", False),
        ("fd00:ec2::254", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("ff02::1", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


def test_off_by_default_and_everywhere(client: TestClient) -> None:
    url = "http://shop.example/a.png"
    check(post_item(client, "a", image_url=url, title="mug"), 422, "image_urls_off")
    post_item(client, "b", title="mug")
    check(client.put("/items/b", files={"image_url": (None, url)}), 422, "image_urls_off")
    check(client.patch("/items/b", json={"image_urls": [url]}), 422, "image_urls_off")
    line = client.post(
        "/items/bulk",
        content=b'{"id": "a", "image_urls": ["http://shop.example/a.png"]}',
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert line.json()["code"] == "image_urls_off"
    assert client.get("/items/a").status_code == 404
    check(client.patch("/items/b", json={"images": ["aGVsbG8="] * 11}), 422, "invalid_image")
    refused = check(client.patch("/items/b", json={"images": ["aGVsbG8="] * 12}), 422, "too_many_pictures")
    assert "SEARCH_MAX_PICTURES" in refused["detail"]


def test_items_take_pictures_by_url(settings: Settings, web: int) -> None:
    with TestClient(create_app(settings)) as client:
        client.app.state.fetcher = fetcher(web, permitted=on_loopback)  # type: ignore[attr-defined]
        url = f"http://shop.example:{web}/picture.png"
        item = post_item(client, "a", picture_file("blue"), image_url=[url, url]).json()
        assert len(item["images"]) == 3
        assert item["images"][1]["sha256"] == item["images"][2]["sha256"] != item["images"][0]["sha256"]
        of_url = hashlib.sha256(url.encode()).hexdigest()
        assert [image["source_sha256"] for image in item["images"]] == [None, of_url, of_url]
        assert len(client.patch("/items/a", json={"image_urls": [url]}).json()["images"]) == 1
        line = client.post(
            "/items/bulk",
            content=f'{{"id": "b", "image_urls": ["{url}"]}}'.encode(),
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert line.json()["status"] == 201
        check(post_item(client, "c", image_url=[url] * 9), 422, "too_many_pictures")
        check(post_item(client, "c", *[picture_file()] * 4, image_url=[url] * 5), 422, "too_many_pictures")
        check(post_item(client, "c", image_url=f"http://127.0.0.1:{web}/missing"), 422, "url_failed")
        check(post_item(client, "c", image_url=f"http://10.0.0.1:{web}/"), 422, "url_refused")
        page = f"http://shop.example:{web}/page"
        refused = check(post_item(client, "c", image_url=[url, page]), 422, "invalid_image")
        assert page in refused["detail"], "which of them"
        assert client.get("/items/c").status_code == 404


def test_a_search_takes_its_picture_by_url(settings: Settings, web: int) -> None:
    with TestClient(create_app(settings)) as client:
        client.app.state.fetcher = fetcher(web, permitted=on_loopback)  # type: ignore[attr-defined]
        for colour in ("red", "blue", "green"):
            post_item(client, colour, picture_file(colour))

        def search(path: str, host: str = "shop.example") -> Any:
            return client.post("/search/image", files={"image_url": (None, f"http://{host}:{web}{path}")})

        assert search("/picture.png").json()["hits"][0]["id"] == "red"
        assert search("/to-picture").json()["hits"][0]["id"] == "red"
        check(search("/missing"), 422, "url_failed")
        check(search("/to-private"), 422, "url_refused")
        check(search("/picture.png", "10.0.0.1"), 422, "url_refused")
