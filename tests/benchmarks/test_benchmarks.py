"""The benchmarks run, at a small size, and measure what they say. How fast anything is, no test says."""

import asyncio
import itertools
import json
import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

import retriever
from benchmarks import capacity, peers, real_gallery, report
from benchmarks.__main__ import main, merged
from benchmarks.load import drive
from benchmarks.measure import medians, table, timed
from training.formats import GalleryItem, read_gallery


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_exported")
def test_every_part_runs_at_a_small_size(tiny_checkpoint: Path, tmp_path: Path) -> None:
    arguments = ["--model", str(tiny_checkpoint), "--output", str(tmp_path), "--sizes", "40", "--batches", "1,2"]
    arguments += [
        "--inference",
        "torch,bf16",
        "--clients",
        "1,2",
        "--pictures",
        "3",
        "--seconds",
        "0.2",
        "--rounds",
        "1",
    ]
    tables = main(arguments)
    assert {(row["input"], row["batch"], row["inference"]) for row in tables["encoding"]} == set(
        itertools.product(("query", "item"), (1, 2), ("torch", "bf16"))
    )
    searches = tables["kinds"] + tables["clients"] + tables["arrivals"]
    assert all(
        row["failed %"] == row["refused %"] == 0 and row["requests/s"] > 0 and row["CPU ms"] > 0 for row in searches
    )
    assert all(row["p50 ms"] <= row["p99 ms"] for row in searches)
    footprint = tables["footprint"][0]
    assert footprint["items"] == 40
    assert footprint["recall@10"] > 0.95  # all forty are candidates; in eight bits the tenth may be the eleventh
    assert [row["ingest"] for row in tables["ingest"]] == [
        "POST /items, 1 client",
        "POST /items, 8 clients",
        "POST /items/bulk",
        "PATCH of a price, 1 client",
        "POST /items/bulk?action=update",
    ]
    assert json.loads((tmp_path / "results.json").read_text())["tables"] == tables
    document = tmp_path / "performance.md"
    names = ("machine", "growth", *tables, "peers", "targets")
    document.write_text("".join(f"about {name}\n<!-- bench: {name} -->\nold\n<!-- end -->\n" for name in names))
    (tmp_path / "peers.json").write_text(json.dumps({"rows": [{"server": "peer", "clients": 1, "requests/s": 2.0}]}))
    report.main(["--results", str(tmp_path), "--document", str(document)])
    text = document.read_text()
    assert "old" not in text
    assert all(f"about {name}\n<!-- bench: {name} -->\n\n" in text for name in names)
    assert "| hybrid" in text
    assert (tmp_path / "images" / "growth.png").exists()
    assert (tmp_path / "growth.png").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_exported")
def test_the_hand_written_peer_runs_beside_the_service(tiny_checkpoint: Path, tmp_path: Path) -> None:
    arguments = ["--model", str(tiny_checkpoint), "--output", str(tmp_path), "--size", "30", "--clients", "1"]
    rows = peers.main([*arguments, "--seconds", "0.3", "--rounds", "1"])
    assert [row["server"] for row in rows] == [
        "hand-written: search",
        "hand-written: embedding alone",
        "this service: hybrid search",
    ]
    assert all(row["failed %"] == 0 and row["CPU ms"] > 0 for row in rows)


def test_each_models_capacity_is_measured_on_a_catalogue_of_its_own(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another model's vectors are of no use."""
    served = Mock(side_effect=RuntimeError("served"))
    monkeypatch.setattr(capacity, "service", served)
    with pytest.raises(RuntimeError, match="served"):
        capacity.main(["--model", str(tiny_checkpoint), "--size", "5", "--output", str(tmp_path)])
    assert served.call_args.args[0].name == f"5-items-{retriever.load(tiny_checkpoint).model_id}"


def play(answer: Callable[[int], tuple[float, str]]) -> dict[str, float]:
    """What the load generator says, at 100 requests a second by one client, of a server that answers the n-th with a
    status, so many seconds late.
    """

    async def measure() -> dict[str, float]:
        answered = itertools.count()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while head := await reader.readline():
                length = 0
                while (line := await reader.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                assert head.startswith(b"POST /search ")
                assert await reader.readexactly(length) == b'{"query": "mug"}'
                late, status = answer(next(answered))
                await asyncio.sleep(late)
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}".encode())

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        body = itertools.cycle([b'{"query": "mug"}'])
        url = f"http://127.0.0.1:{port}/search"
        measured = await drive(url, body, clients=1, seconds=0.5, rate=100)
        server.close()
        return measured

    return asyncio.run(measure())


def test_the_load_generator_charges_a_stall_to_all_who_wait() -> None:
    """One answer takes 0.3 s; at constant arrival all requests that were due meanwhile are late by it."""
    measured = play(lambda number: (0.0 if number else 0.3, "200 OK"))
    assert measured["requests"] == 50
    assert measured["failed %"] == 0
    assert measured["p50 ms"] > 20  # without counting the wait, all but one would take a millisecond


def test_quick_refusals_are_no_throughput() -> None:
    """Of ten requests, one is answered late, one fails, and eight are refused at once."""
    answers = {0: (0.04, "200 OK"), 1: (0.0, "500 Broken")}
    measured = play(lambda number: answers.get(number % 10, (0.0, "429 Busy")))
    assert measured["requests"] == 50
    assert measured["requests/s"] < 11
    assert measured["p50 ms"] >= 40
    assert measured["refused %"] == 80
    assert measured["failed %"] == 10
    assert math.isnan(play(lambda number: (0.0, "429 Busy"))["p99 ms"])


def test_timing_repeats_and_leaves_the_warm_up_out() -> None:
    calls = []
    one = timed(lambda: calls.append(time.sleep(0.02 if len(calls) else 0.2)), seconds=0.0, warm_up=1)
    assert len(calls) == 4
    assert 20 <= one.median <= one.p99
    assert one.cpu < one.median


def test_of_several_rounds_the_medians_are_shown() -> None:
    rounds = [[{"way": "a", "items": 5, "ms": ms}, {"way": "b", "items": 5, "ms": 2 * ms}] for ms in (9, 1, 2)]
    assert medians(rounds) == [{"way": "a", "items": 5, "ms": 2}, {"way": "b", "items": 5, "ms": 4}]


def test_a_table_reads_well_as_text() -> None:
    assert table([{"way": "torch", "ms": 1234.5}, {"way": "int8", "ms": 0.01234}]).splitlines() == [
        "| way   | ms     |",
        "|-------|--------|",
        "| torch | 1234   |",
        "| int8  | 0.0123 |",
    ]


def test_what_was_measured_again_replaces_what_was_before() -> None:
    old = [{"items": 1000, "clients": 1, "ms": 9}, {"items": 5, "clients": 1, "ms": 1}]
    new = [{"items": 1000, "clients": 1, "ms": 3}, {"items": 1000, "clients": 8, "ms": 4}]
    assert merged(old, new) == [old[1], *new]


def test_the_report_fits_the_document() -> None:
    """Every table that the document has a place for is one that the benchmarks make."""
    document = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()
    names = re.findall(r"<!-- bench: ([a-z]+) -->", document)
    assert sorted(names) == sorted(["growth", "machine", "targets", *report.TABLES])
    assert document.count("<!-- end -->") == len(names)


def test_a_gallery_of_real_texts_holds_every_answer_and_nothing_else_twice(tmp_path: Path) -> None:
    lines = {
        "fashion/attributes.gallery.jsonl": [
            {"item_id": "a", "text": "Nike shirt"},
            {"item_id": "b", "text": "Nike shirt"},
        ],
        "captions/dev.valid.jsonl": [
            {"query_id": 1, "query_text": "vase", "item_ids": {"c": "A vase.", "d": "A vase."}}
        ],
        "captions/train.valid.jsonl": [
            {"query_id": 2, "query_text": "pot", "item_ids": {"e": "a  VASE.", "f": "A pot."}}
        ],
        "fashion/items.train.jsonl": [
            {
                "item_id": "g",
                "title": "Blue kurta",
                "description": "It has a mandarin collar. Wash. Made of soft cotton cloth.",
            }
        ],
        "household/items.jsonl": [{"item_id": "h", "title": "A pot.", "description": None}],
        "grocery/items.jsonl": [{"item_id": "i", "title": "Granny Smith"}],
    }
    for name, records in lines.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("".join(json.dumps(record) + "\n" for record in records))
    written = tmp_path / "gallery.jsonl"
    real_gallery.main(["--data", str(tmp_path), str(written)])
    assert list(read_gallery(written)) == [
        GalleryItem("a", "Nike shirt"),
        GalleryItem("b", "Nike shirt"),
        GalleryItem("c", "A vase."),
        GalleryItem("d", "A vase."),
        GalleryItem("f", "A pot."),
        GalleryItem("g", "Blue kurta"),
        GalleryItem("i", "Granny Smith"),
        GalleryItem("g-0-1", "It has a mandarin collar."),
        GalleryItem("g-2-1", "Made of soft cotton cloth."),
        GalleryItem("g-0-2", "It has a mandarin collar. Wash."),
        GalleryItem("g-1-2", "Wash. Made of soft cotton cloth."),
    ]
    real_gallery.main(["--data", str(tmp_path), "--size", "3", str(written)])
    assert len(list(read_gallery(written))) == 3
