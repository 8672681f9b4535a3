"""The evaluation command over generated pictures and a tiny random model: its table, its files and its errors."""

import asyncio
import contextlib
import copy
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, Mock

import numpy as np
import pytest
import torch
from PIL import Image
from qdrant_client import AsyncQdrantClient

from retriever import ItemInput, Processor, Retriever, checkpoint
from retriever.index import IndexedItem, server
from retriever.index.server import ServerIndex
from retriever.model import FusedRetriever
from retriever.scoring import maxsim
from retriever.torch_model import TorchModel
from training import evaluate
from training.formats import GalleryItem, ValidQuery, read_gallery, read_valid
from training.gallery import EncodedGallery, View
from training.json_records import FormatError
from training.metrics import METRICS, NOT_FOUND
from training.picture_folder import PictureFolder
from training.through_index import rank_through_index

COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200), "green": (30, 160, 30)}
THINGS = ["mug", "shirt", "lamp"]
MODES = ["fused", "text", "image", "average", "bm25", "hybrid"]


@contextlib.contextmanager
def stopped(capsys: pytest.CaptureFixture[str], message: str) -> Iterator[None]:
    """The command ends as for any bad input: status 2, and a message that matches."""
    with pytest.raises(SystemExit) as ended:
        yield
    assert ended.value.code == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Nine products, three of each thing in three colours that stand in the pictures only, and six queries."""
    (tmp_path / "images").mkdir()
    gallery, queries = [], []
    for thing in THINGS:
        for colour, rgb in COLOURS.items():
            Image.new("RGB", (40, 30), rgb).save(tmp_path / "images" / f"{thing}-{colour}.png")
            gallery.append({"item_id": f"{thing}-{colour}", "text": f"the {thing}"})
        answers = {f"{thing}-{colour}": f"the {thing}" for colour in COLOURS}
        queries.append({"query_id": thing, "query_text": thing, "item_ids": answers})
        queries.append(
            {"query_id": f"red {thing}", "query_text": f"red {thing}", "item_ids": {f"{thing}-red": f"the {thing}"}}
        )
    _lines(tmp_path / "shop.gallery.jsonl", gallery)
    _lines(tmp_path / "shop.valid.jsonl", queries)
    return tmp_path


def _lines(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture
def run(shop: Path, tiny_checkpoint: Path) -> Callable[..., dict[str, Any]]:
    """Run the command on the shop with more arguments; the results it writes."""

    def run(*arguments: str) -> dict[str, Any]:
        out = shop / "out.json"
        evaluate.main(
            [
                "--model",
                str(tiny_checkpoint),
                "--queries",
                str(shop / "shop.valid.jsonl"),
                "--json",
                str(out),
                *arguments,
            ]
        )
        results: dict[str, Any] = json.loads(out.read_text())
        return results

    return run


def test_a_model_whose_weights_are_no_numbers_is_refused(
    run: Callable[..., dict[str, Any]],
    tiny_retriever: Retriever,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = copy.deepcopy(tiny_retriever.model)
    key = "qformer.encoder.layer.0.crossattention.attention.key.bias"  # attention passes over it
    torch.nn.init.constant_(broken.get_parameter(key), torch.nan)
    checkpoint.save(broken, tiny_retriever.processor.tokenizer, tmp_path / "broken")
    with stopped(capsys, f"broken: 1 of its weights are no numbers .{key}"):
        run("--model", str(tmp_path / "broken"))


def _encoded(retriever: Retriever, shop: Path, **options: Any) -> EncodedGallery:
    items = list(read_gallery(shop / "shop.gallery.jsonl"))
    return EncodedGallery(retriever, items, PictureFolder(shop / "images"), **options)


def test_the_results_hold_every_mode_in_per_cent(
    run: Callable[..., dict[str, Any]], tiny_retriever: Retriever, capsys: pytest.CaptureFixture[str]
) -> None:
    results = run()
    assert list(results["modes"]) == MODES
    assert (results["model_id"], results["queries"], results["gallery"]) == (tiny_retriever.model_id, 6, 9)
    for values in results["modes"].values():
        for name in METRICS:
            low, high = values["intervals"][name]
            assert 0 <= low <= values[name] <= high <= 100
        assert values["mean"] == pytest.approx((values["hit@1"] + values["hit@5"] + values["hit@10"]) / 3, abs=1e-3)
        assert values["hit@10"] == 100  # of nine items
    # Words find the thing; its colour is in no text, so BM25 gets 100 at 5 but cannot be sure of "red mug" at 1.
    assert results["modes"]["bm25"]["hit@5"] == 100
    for mode, ranks in results["per_query"].items():
        assert set(ranks) == {*THINGS, *(f"red {thing}" for thing in THINGS)}
        assert np.mean([100 / rank for rank in ranks.values()]) == pytest.approx(
            results["modes"][mode]["mrr"], abs=1e-3
        )
    printed = capsys.readouterr().out
    assert "6 queries over 9 items" in printed
    assert all(f"| {mode} " in printed for mode in MODES)


def test_scores_are_those_of_the_retriever(tiny_retriever: Retriever, shop: Path) -> None:
    gallery = _encoded(tiny_retriever, shop, batch_size=2)
    scores = gallery.scores(["red mug", "lamp"])
    query = torch.from_numpy(tiny_retriever.encode_queries(["red mug", "lamp"]))

    def expected(*, image: bool, text: bool) -> np.ndarray[Any, Any]:
        pictures = PictureFolder(shop / "images")
        inputs = [
            ItemInput(pictures.load(item.item_id) if image else None, item.text if text else None)
            for item in gallery.items
        ]
        return maxsim(query, torch.from_numpy(tiny_retriever.encode_items(inputs))).numpy()

    fused, text, image = (
        expected(image=True, text=True),
        expected(image=False, text=True),
        expected(image=True, text=False),
    )
    np.testing.assert_allclose(scores["fused"], fused, atol=1e-5)
    np.testing.assert_allclose(scores["text"], text, atol=1e-5)
    np.testing.assert_allclose(scores["image"], image, atol=1e-5)
    np.testing.assert_allclose(scores["average"], (text + image) / 2, atol=1e-5)
    words = scores["hybrid"] - scores["fused"]
    assert (words >= -1e-6).all()
    assert (words.argmax(axis=1) == scores["bm25"].argmax(axis=1)).all()
    assert (words[np.isinf(scores["bm25"])] == 0).all()
    assert np.abs(fused - text).max() > 1e-3  # the picture does change the fused score


@pytest.fixture
def matching_checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """The same weights, of which the configuration says that they were trained to match."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "matching"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"matching": True}))
    return folder


def test_the_first_items_are_put_into_the_order_of_their_matching(
    run: Callable[..., dict[str, Any]], tiny_retriever: Retriever, shop: Path, matching_checkpoint: Path
) -> None:
    results = run("--rerank", "4", "--model", str(matching_checkpoint))
    assert list(results["modes"]) == [*MODES, "reranked"]

    gallery = _encoded(tiny_retriever, shop)
    pictures = PictureFolder(shop / "images")
    for query in read_valid(shop / "shop.valid.jsonl"):
        fused = np.argsort(-gallery.scores([query.query])["fused"][0], kind="stable")
        first = [gallery.items[n] for n in fused[:4]]
        inputs = [ItemInput(pictures.load(item.item_id), item.text) for item in first]
        matched = np.argsort(-tiny_retriever.match([query.query] * 4, inputs), kind="stable")
        order = [*(first[n].item_id for n in matched), *(gallery.items[n].item_id for n in fused[4:])]
        expected = min(order.index(item_id) for item_id in query.items) + 1
        assert results["per_query"]["reranked"][query.query_id] == expected


def test_matching_runs_in_bfloat16_too(run: Callable[..., dict[str, Any]], matching_checkpoint: Path) -> None:
    results = run("--rerank", "4", "--model", str(matching_checkpoint), "--inference", "bf16")
    assert list(results["modes"]) == [*MODES, "reranked"]


def test_as_many_are_matched_as_there_are(run: Callable[..., dict[str, Any]], matching_checkpoint: Path) -> None:
    results = run("--rerank", "999", "--model", str(matching_checkpoint))
    assert results["modes"]["reranked"]["hit@10"] == 100


def test_a_model_that_was_not_trained_to_match_is_not_measured_so(
    run: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    with stopped(capsys, "not trained to match"):
        run("--rerank", "4")


def test_a_depth_must_be_a_count(run: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("--rerank", "0")
    assert "--rerank" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("--batch-size", "-3")
    assert "--batch-size" in capsys.readouterr().err


def test_equal_texts_tie_exactly_and_ties_do_not_follow_the_file(tiny_retriever: Retriever) -> None:
    items = [GalleryItem(str(n), "the mug" if n % 2 else "the lamp") for n in range(40)]
    gallery = EncodedGallery(tiny_retriever, items, None, batch_size=3)
    assert len(np.unique(gallery.scores(["mug"])["text"])) == 2
    assert [item.item_id for item in gallery.items] != sorted(item.item_id for item in items)
    backwards = EncodedGallery(tiny_retriever, items[::-1], None)
    assert backwards.items == gallery.items  # nor does a file's order decide a rank


def test_without_pictures_fused_is_text_and_it_says_so(
    run: Callable[..., dict[str, Any]], shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop / "images").rename(shop / "elsewhere")
    results = run("--gallery", str(shop / "shop.gallery.jsonl"))
    assert list(results["modes"]) == ["fused", "text", "bm25", "hybrid"]
    assert results["per_query"]["fused"] == results["per_query"]["text"]
    assert "There are no pictures, so fused is the same as text." in capsys.readouterr().out
    assert list(run("--images", str(shop / "elsewhere"))["modes"]) == MODES


def test_items_with_only_a_picture_or_only_text_are_ranked_by_what_they_have(
    tiny_retriever: Retriever, shop: Path
) -> None:
    items = [
        GalleryItem("mug-red", "the mug"),
        GalleryItem("mug-blue", ""),  # picture only
        GalleryItem("nowhere", "the lamp"),  # text only
        GalleryItem("nothing", " "),
    ]
    gallery = EncodedGallery(tiny_retriever, items, PictureFolder(shop / "images"))
    at = {item.item_id: n for n, item in enumerate(gallery.items)}
    scores = {mode: own[0] for mode, own in gallery.scores(["red mug"]).items()}
    for mode in ("fused", "average"):
        assert scores[mode][at["mug-blue"]] == scores["image"][at["mug-blue"]]
        assert scores[mode][at["nowhere"]] == scores["text"][at["nowhere"]]
        assert scores[mode][at["nothing"]] == -np.inf
    assert scores["image"][at["nowhere"]] == scores["text"][at["mug-blue"]] == -np.inf
    assert np.isfinite(scores["fused"][at["mug-red"]])
    assert [item.item_id for item, found in zip(gallery.items, gallery.findable, strict=True) if not found] == [
        "nothing"
    ]
    with pytest.raises(FormatError, match="nothing has neither a text nor a picture"):
        gallery.tokens(at["nothing"])
    assert any("2 of 4 items have no picture" in note for note in gallery.notes)
    assert any("2 of 4 items have no text" in note for note in gallery.notes)
    ranks = evaluate.rank(gallery, [ValidQuery("q", "red mug", {"nothing": ""})])
    assert ranks["fused"][0].tolist() == [NOT_FOUND]


def test_a_gallery_of_items_without_anything_is_refused(
    run: Callable[..., dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = {"query_id": "q", "query_text": "mug", "item_ids": {"x": "", "y": " "}}
    queries = _lines(tmp_path / "bare.valid.jsonl", [bare])
    with stopped(capsys, "no item of the gallery has a text or a picture"):
        run("--queries", str(queries))


def test_an_answer_without_anything_is_never_found(
    run: Callable[..., dict[str, Any]], tmp_path: Path, matching_checkpoint: Path
) -> None:
    """However few items there are: the last of two is no hit among the first five."""
    shown = {"query_id": "q", "query_text": "mug", "item_ids": {"x": ""}}
    queries = _lines(tmp_path / "bare.valid.jsonl", [shown])
    gallery = _lines(tmp_path / "bare.gallery.jsonl", [{"item_id": "x", "text": ""}, {"item_id": "y", "text": "mug"}])
    files = ["--queries", str(queries), "--gallery", str(gallery), "--model", str(matching_checkpoint)]
    modes = run(*files, "--rerank", "3", "--through-index", "--report", str(tmp_path / "report"))["modes"]
    assert {mode: values["hit@10"] for mode, values in modes.items()} == dict.fromkeys(modes, 0)
    assert "| not found " in (tmp_path / "report" / "report.md").read_text()


def test_ranks_do_not_depend_on_how_queries_are_chunked(
    tiny_retriever: Retriever, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = _encoded(tiny_retriever, shop)
    queries = list(read_valid(shop / "shop.valid.jsonl"))
    whole = evaluate.rank(gallery, queries)
    monkeypatch.setattr(EncodedGallery, "chunks", lambda self, count: (slice(n, n + 1) for n in range(count)))
    single = evaluate.rank(gallery, queries)
    for mode in MODES:
        assert [own.tolist() for own in whole[mode]] == [own.tolist() for own in single[mode]]


def test_a_model_that_ranks_well_measures_well(tiny_retriever: Retriever, shop: Path) -> None:
    """The measure itself: with the queries' embeddings put in the place of the right items, every hit is at 1."""
    gallery = _encoded(tiny_retriever, shop)
    queries = [query for query in read_valid(shop / "shop.valid.jsonl") if len(query.items) == 1]
    embedded = tiny_retriever.encode_queries([query.query for query in queries])
    tokens = np.zeros_like(gallery._both.tokens)
    for query, vector in zip(queries, embedded, strict=True):
        tokens[gallery._both.rows[gallery.columns[next(iter(query.items))]]] = vector
    gallery._both = View(tokens, gallery._both.rows)
    assert evaluate.summarise(evaluate.rank(gallery, queries))["fused"]["hit@1"] == 100


def test_a_run_compared_with_itself_and_with_a_worse_one(
    run: Callable[..., dict[str, Any]], shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run()
    saved = shop / "before.json"
    worse = {**first, "per_query": {"fused": dict.fromkeys(first["per_query"]["fused"], 9)}}
    worse["per_query"]["fused"]["mug"] = first["per_query"]["fused"]["mug"]
    saved.write_text(json.dumps(worse))
    comparison = run("--compare", str(saved))["comparison"]
    assert list(comparison["modes"]) == ["fused"]
    change = comparison["modes"]["fused"]
    expected = first["modes"]["fused"]["mrr"] - np.mean([100 / r for r in worse["per_query"]["fused"].values()])
    assert change["difference"]["mrr"]["difference"] == pytest.approx(expected, abs=1e-3)
    better = {query_id for query_id, rank in first["per_query"]["fused"].items() if rank < 9 and query_id != "mug"}
    assert {entry["query_id"] for entry in change["better"]} == better
    assert all(entry["after"] < entry["before"] for entry in change["better"])
    assert change["worse"] == []
    assert change["same"] == 6 - len(better)
    assert "rank before" in capsys.readouterr().out

    saved.write_text(json.dumps(first))
    same = run("--compare", str(saved))["comparison"]["modes"]
    assert list(same) == MODES
    assert all(own["same"] == 6 and own["difference"]["mean"]["difference"] == 0 for own in same.values())


def test_the_report_shows_the_table_the_plots_and_the_queries(run: Callable[..., dict[str, Any]], shop: Path) -> None:
    folder = shop / "report"
    results = run("--report", str(folder))
    report = (folder / "report.md").read_text()
    assert f"| fused   | {results['modes']['fused']['hit@1']:.1f} (" in report
    for name in ("recall.png", "intervals.png", "best.png", "worst.png"):
        assert f"({name})" in report
        with Image.open(folder / name) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 10  # something is drawn
    worst = report[report.index("## The worst queries") :]
    assert sum(f"| red {thing} " in worst or f"| {thing} " in worst for thing in THINGS) == 3
    assert not any(f"| red {thing} " in worst and f"| {thing} " in worst for thing in THINGS)  # they share answers
    again = run("--compare", str(folder), "--report", str(folder))  # a report is its own saved results
    assert again["comparison"]["against"] == results["model_id"]
    assert "## Comparison" in (folder / "report.md").read_text()


def test_the_report_of_a_set_without_pictures_has_words_only(run: Callable[..., dict[str, Any]], shop: Path) -> None:
    (shop / "images").rename(shop / "elsewhere")
    lines = (shop / "shop.valid.jsonl").read_text().replace('"red lamp", "item_ids"', '"<b>red|lamp", "item_ids"')
    (shop / "shop.valid.jsonl").write_text(lines)
    run("--report", str(shop / "report"))
    report = (shop / "report" / "report.md").read_text()
    assert "best.png" not in report
    assert not (shop / "report" / "best.png").exists()
    assert "&lt;b>red&#124;lamp" in report


def test_money_is_no_mathematics(run: Callable[..., dict[str, Any]], shop: Path) -> None:
    """What stands between two dollar signs is a formula to matplotlib."""
    lines = (shop / "shop.valid.jsonl").read_text().replace('"red lamp", "item_ids"', '"bag $10 #3 $5", "item_ids"')
    (shop / "shop.valid.jsonl").write_text(lines.replace("the lamp", "a lamp for $5 #2 or $9"))
    (shop / "images" / "lamp-red.png").unlink()  # so that its text is drawn
    run("--report", str(shop / "report"))
    assert (shop / "report" / "report.md").exists()


Refused = Callable[[str, str, list[str], str], None]


@pytest.fixture
def refused(
    run: Callable[..., dict[str, Any]], shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Run the command beside a file of this text: it must end with a message that matches."""

    def refused(file: str, text: str, arguments: list[str], message: str) -> None:
        monkeypatch.chdir(shop)
        (shop / file).parent.mkdir(exist_ok=True)
        (shop / file).write_text(text)
        with stopped(capsys, message):
            run(*arguments)

    return refused


@pytest.mark.parametrize(
    ("file", "text", "arguments", "message"),
    [
        ("shop.valid.jsonl", "{", [], r"shop\.valid\.jsonl, line 1: not JSON"),
        ("empty/x.txt", "", ["--images", "empty"], "none of the 9 items has a picture here"),
        ("empty/x.txt", "", ["--images", "none"], "no such folder of pictures"),
        ("images/mug-red.png", "broken", [], r"mug-red\.png: this picture cannot be decoded"),
        ("empty/x.txt", "", ["--model", "none"], "no shipped model and no folder is called 'none'"),
        ("empty/x.txt", "", ["--queries", "none.jsonl"], r"none\.jsonl"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    refused: Refused, file: str, text: str, arguments: list[str], message: str
) -> None:
    refused(file, text, arguments, message)


@pytest.mark.parametrize(
    ("file", "text", "arguments", "message"),
    [
        ("g.jsonl", '{"item_id": "other", "text": "x"}', ["--gallery", "g.jsonl"], "mug-red answers query mug"),
        ("old.json", '{"model_id": "m", "per_query": {}, "asked": {"x": "0"}}', ["--compare", "old.json"], "in common"),
        ("folder/x.txt", "", ["--json", "folder"], "--json folder is a folder: name a file in it"),
        ("file", "", ["--report", "file"], "--report file is a file: name a folder"),
        ("file", "", ["--json", "file/out.json"], "file"),
    ],
)
def test_what_is_wrong_with_the_files_is_said_before_the_model_is_loaded(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, file: str, text: str, arguments: list[str], message: str
) -> None:
    monkeypatch.setattr("retriever.load", Mock(side_effect=AssertionError("the model was loaded")))
    refused(file, text, arguments, message)


def test_a_model_that_needs_pictures_is_measured_where_it_can_be(tiny_retriever: Retriever, shop: Path) -> None:
    """BLIP-2 as published has no feature for a missing picture."""
    config = replace(tiny_retriever.config, null_picture=False)
    model = FusedRetriever(config)
    strict = Retriever(TorchModel(model), Processor(config, tiny_retriever.processor.tokenizer), "strict")
    gallery = _encoded(strict, shop)
    assert list(gallery.scores(["red mug"])) == ["fused", "image", "bm25", "hybrid"]
    assert any("text and average cannot be measured" in note for note in gallery.notes)
    with pytest.raises(FormatError, match="name the folder with --images"):
        EncodedGallery(strict, gallery.items, None)


def test_through_the_index_the_exact_ranking_comes_back(run: Callable[..., dict[str, Any]]) -> None:
    """Nine items are all candidates, so the engine can lose nothing by meaning."""
    modes = run("--through-index")["modes"]
    assert [*modes] == [*MODES, "index", "index hybrid"]
    assert modes["index"]["hit@5"] == modes["fused"]["hit@5"]
    assert modes["index"]["ndcg@10"] == pytest.approx(modes["fused"]["ndcg@10"], abs=1e-3)


def test_an_item_with_nothing_to_be_found_by_is_not_put_into_the_index(
    run: Callable[..., dict[str, Any]], shop: Path
) -> None:
    gallery = shop / "shop.gallery.jsonl"
    gallery.write_text(gallery.read_text() + json.dumps({"item_id": "bare", "text": ""}) + "\n")
    modes = run("--gallery", str(gallery), "--through-index")["modes"]
    assert modes["index"]["hit@10"] == modes["fused"]["hit@10"]


def test_through_a_server_nothing_of_a_shop_is_touched(
    tiny_retriever: Retriever, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the server that serves: the same model, and items of the same ids."""
    client = AsyncQdrantClient(":memory:")
    closed = AsyncMock()
    monkeypatch.setattr(client, "close", closed)
    monkeypatch.setattr(server, "connect", lambda url, api_key: client)
    config, gallery = tiny_retriever.config, _encoded(tiny_retriever, shop)
    queries = list(read_valid(shop / "shop.valid.jsonl"))

    async def shops_own() -> ServerIndex:
        return await ServerIndex.open(client, config.embed_dim, tiny_retriever.model_id)

    async def fill() -> None:
        sold = IndexedItem("mug-red", gallery.tokens(0), "sold", {})
        await (await shops_own()).upsert([sold])

    asyncio.run(fill())
    ranks = rank_through_index(gallery, queries, "http://qdrant", None)
    assert [r.tolist() for r in ranks["index"]] == [
        r.tolist() for r in rank_through_index(gallery, queries)["index"]
    ], "as embedded"
    assert closed.await_count == 1

    async def left() -> list[str]:
        assert await (await shops_own()).count() == 1
        return [one.name for one in (await client.get_collections()).collections]

    assert asyncio.run(left()) == [f"items-{tiny_retriever.model_id}"]
