"""Raw files → training data, the whole way, against the loopback endpoint."""

import base64
import csv
import io
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.training.prepare.conftest import picture
from tests.training.prepare.endpoint import Endpoint, Reply, subject
from training import evaluate, finetune
from training.data import Source, normalise
from training.formats import read_gallery, read_train, read_valid
from training.prepare.__main__ import main
from training.prepare.near_duplicates import families
from training.prepare.pictures import check, data_url
from training.prepare.sources import SourceItem, records


def prepare(step: str, folder: Path, *more: str) -> None:
    named = {"all": ("--answers", "--output"), "write": ("--output",)}
    flags = {"--answers": folder / "answers.sqlite", "--output": folder / "out"}
    wanted = named.get(step, ("--answers",) if step in ("translate", "caption") else ())
    main([step, "--job", str(folder / "job"), *(str(x) for name in wanted for x in (name, flags[name])), *more])


def report(folder: Path) -> dict[tuple[str, str], int]:
    rules = json.loads((folder / "out" / "report.json").read_text())["rules"]
    return {(one["step"], one["rule"]): one.get("dropped", one.get("changed")) for one in rules}


def test_muge_becomes_the_seeds_formats(muge: Path, endpoint: Endpoint, tmp_path: Path) -> None:
    second = threading.Event()

    def first_waits_for_the_second(number: int, request: dict[str, Any]) -> Reply:
        if number == 0:  # however fast this machine answers, two are then under way at once
            return Reply(wait_for=second)
        second.set()
        return Reply()

    endpoint.behave = first_waits_for_the_second
    prepare("all", tmp_path, "--source", str(muge))
    out = tmp_path / "out"
    pairs = list(read_train(out / "train.json"))
    assert len(pairs) == 24
    assert all(len(pair.captions) == 3 and all(text.isascii() for text in pair.captions) for pair in pairs)
    assert {pair.query_id for pair in pairs} == {str(n) for n in range(12)}
    assert all(pair.query.startswith("english ") for pair in pairs)
    valid = list(read_valid(out / "dev.valid.jsonl"))
    assert [query.query_id for query in valid] == ["100", "101", "102", "103"]
    assert set(valid[0].items) == {"100", "150"}
    assert {item.item_id for item in read_gallery(out / "dev.gallery.jsonl")} == {"100", "101", "102", "103", "150"}
    assert len(Source(out / "train.json", out / "images")) == 13
    translated = [request for request in endpoint.requests if isinstance(request["messages"][-1]["content"], str)]
    assert {request["model"] for request in translated} == {"qwen-mt-flash"}
    assert translated[0]["translation_options"] == {"source_lang": "auto", "target_lang": "English"}
    assert len(translated) == 16
    described = [request for request in endpoint.requests if request["model"] == "qwen3-vl-32b-instruct"]
    wanted = sorted(request["messages"][0]["content"][1]["text"].partition("exactly ")[2][0] for request in described)
    assert wanted == ["1"] * 5 + ["3"] * 13
    assert 1 < endpoint.most_at_once <= 8


def test_every_step_runs_by_itself_and_a_second_time_asks_nothing(
    muge: Path, endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare("read", tmp_path, "--source", str(muge))
    with pytest.raises(SystemExit):
        prepare("write", tmp_path)
    assert "write needs split" in capsys.readouterr().err
    for step in ("translate", "caption", "clean", "split", "write"):
        prepare(step, tmp_path)
    first = (tmp_path / "out" / "train.json").read_bytes()
    asked = len(endpoint.requests)
    prepare("all", tmp_path, "--source", str(muge))
    assert len(endpoint.requests) == asked
    assert (tmp_path / "out" / "train.json").read_bytes() == first
    for step in ("clean", "clean", "split", "split", "write"):
        prepare(step, tmp_path)
    assert (tmp_path / "out" / "train.json").read_bytes() == first


def test_what_is_broken_is_dropped_with_all_that_speaks_of_it(muge: Path, endpoint: Endpoint, tmp_path: Path) -> None:
    queries = muge / "MR_train_queries.jsonl"
    with queries.open("a", encoding="utf-8") as file:
        file.write('{"query_id": 20, "query_text": "cut off\n')
        file.write('{"query_id": 21, "query_text": "no items"}\n["a list"]\n')
        file.write('{"query_id": 22, "query_text": "", "item_ids": [1]}\n')
        file.write('{"query_id": 23, "query_text": "🔥🔥", "item_ids": [2]}\n')
        file.write('{"query_id": 24, "query_text": "Red mug", "item_ids": [3, 3]}\n')
        file.write('{"query_id": 25, "query_text": "red  mug!", "item_ids": [3, 4]}\n')
        file.write('{"query_id": 26, "query_text": "lost", "item_ids": [30, 31, 32]}\n')
    with (muge / "MR_train_imgs.tsv").open("ab") as file:
        file.write(b"30\t" + b"no base64 at all !!\n" + b"31\taGVsbG8gd29ybGQ=\n")
        file.write(b"0\t" + b"aGVsbG8=\n" + b"no tab here\n")
    prepare("all", tmp_path, "--source", str(muge))
    found = report(tmp_path)
    expected = {
        ("read", "broken_json"): 2,
        ("read", "missing_field"): 1,
        ("read", "undecodable_picture"): 2,
        ("read", "duplicate_item"): 1,
        ("read", "broken_row"): 1,
        ("clean", "empty"): 2,
        ("clean", "duplicate_query"): 1,
        ("clean", "duplicate_pair"): 1,
        ("clean", "missing_item"): 3,
        ("clean", "no_items"): 1,
    }
    assert expected.items() <= found.items()
    pairs = list(read_train(tmp_path / "out" / "train.json"))
    assert [pair.image_id for pair in pairs if normalise(pair.query) == "red mug"] == ["3", "4"]
    assert "lost" not in {pair.query for pair in pairs}
    dropped = [json.loads(line) for line in (tmp_path / "out" / "dropped.jsonl").read_text().splitlines()]
    assert {one["id"] for one in dropped if one["rule"] == "undecodable_picture"} == {"30", "31"}
    page = (tmp_path / "out" / "report.md").read_text()
    assert "| read | `undecodable_picture` | item: the picture does not decode | 2 |" in " ".join(page.split())


def test_a_refused_picture_is_recorded_and_dropped(muge: Path, endpoint: Endpoint, tmp_path: Path) -> None:
    """Refused with a status, with a finish reason, and in so many words."""
    refusals = [
        Reply(
            400, error={"message": "Input data may contain inappropriate content.", "code": "data_inspection_failed"}
        ),
        Reply(content="", finish_reason="content_filter"),
        Reply(content="I'm sorry, but I can't help with that."),
    ]
    refused: dict[str, Reply] = {}

    def behave(number: int, request: dict[str, Any]) -> Reply:
        if request["model"] != "qwen3-vl-32b-instruct":
            return Reply()
        with endpoint.lock:
            if (
                refusals
                and subject(request) not in refused
                and "exactly 3" in request["messages"][0]["content"][1]["text"]
            ):
                refused[subject(request)] = refusals.pop()
            return refused.get(subject(request), Reply())

    endpoint.behave = behave
    prepare("all", tmp_path, "--source", str(muge))
    found = report(tmp_path)
    assert found["caption", "refused_picture"] == 3
    assert found["clean", "no_caption"] == 3
    dropped = [json.loads(line) for line in (tmp_path / "out" / "dropped.jsonl").read_text().splitlines()]
    gone = {one["id"] for one in dropped if one["rule"] == "refused_picture"}
    assert len(gone) == 3
    assert not gone & {pair.image_id for pair in read_train(tmp_path / "out" / "train.json")}
    assert not gone & {path.stem for path in (tmp_path / "out" / "images").iterdir()}
    asked = len(endpoint.requests)
    prepare("caption", tmp_path)
    assert len(endpoint.requests) == asked, "a refusal is an answer, too: it is not asked for again"


def write_table(folder: Path, count: int = 30) -> Path:
    """Products with a title each, in five kinds and three colours; the first two show one picture."""
    (folder / "photos").mkdir(parents=True)
    path = folder / "shop.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "image", "title", "description", "category", "颜色"])
        for n in range(count):
            name = f"photos/{n}.webp"
            (folder / name).write_bytes(picture(max(n, 1), file_format="WEBP", size=48 if n else 96))
            kind = ("mug", "lamp", "shirt", "shoe", "bag")[n % 5]
            title = f"Brand{n} {kind}" if n else "杯子"
            writer.writerow(
                [f"a/{n}", name, title, f"A {kind} for model {n}. Good.", f"Home > {kind}s", ("red", "blue")[n % 2]]
            )
    return path


def test_a_table_of_products_gets_queries_from_its_fields(endpoint: Endpoint, tmp_path: Path) -> None:
    prepare("all", tmp_path, "--source", str(write_table(tmp_path / "shop")), "--hold-out", "0.2")
    out = tmp_path / "out"
    pairs = list(read_train(out / "train.json"))
    queries = {pair.query for pair in pairs}
    assert "red mug" in queries, "the attribute's name was translated, so its colour narrows the kind"
    valid = list(read_valid(out / "dev.valid.jsonl"))
    held = {item_id for query in valid for item_id in query.items}
    assert 3 <= len(held) <= 16
    assert not held & {pair.image_id for pair in pairs}
    assert not {normalise(query.query) for query in valid} & {normalise(query) for query in queries}
    assert {"a%2F0", "a%2F1"} <= held or not {"a%2F0", "a%2F1"} & held, "they look the same"
    assert {item.item_id for item in read_gallery(out / "dev.gallery.jsonl")} == held
    assert len(Source(out / "train.json", out / "images")) == 30 - len(held)


def test_a_category_of_json_may_be_a_path(tmp_path: Path) -> None:
    path = tmp_path / "shop.jsonl"
    written = ["Home > Mugs", ["Home > Mugs"], ["Home", "Mugs"], 7]
    path.write_text("\n".join(json.dumps({"id": f"{n}", "category": one}) for n, one in enumerate(written)))
    items = [record for record in records(str(path)) if isinstance(record, SourceItem)]
    assert [item.fields["category"] for item in items] == [["Home", "Mugs"]] * 3 + [[]]


def test_without_models_a_table_trains_on_its_own_texts(tmp_path: Path, endpoint: Endpoint) -> None:
    path = write_table(tmp_path / "shop")
    job, out = str(tmp_path / "job"), str(tmp_path / "out")
    main(["read", "--job", job, "--source", str(path)])
    main(["clean", "--job", job])
    main(["split", "--job", job])
    main(["write", "--job", job, "--output", out])
    assert not endpoint.requests
    assert {text for pair in read_train(tmp_path / "out" / "train.json") for text in pair.captions}


def test_a_product_with_only_a_title_does_not_spoil_the_rest(tmp_path: Path, endpoint: Endpoint) -> None:
    rows = [{"item_id": f"{n}", "title": f"kettle {n}", "description": f"It holds {n} litres."} for n in range(4)]
    bare = {"item_id": "bare", "title": "steel umbrella stand"}
    (tmp_path / "shop.jsonl").write_text("\n".join(json.dumps(row) for row in [*rows, bare]))
    prepare("all", tmp_path, "--source", str(tmp_path / "shop.jsonl"), "--captions", "0", "--hold-out", "0")
    assert set(Source(tmp_path / "out" / "train.json").ids) == {"0", "1", "2", "3"}
    assert report(tmp_path)["clean", "no_text"] == 1


def test_a_folder_of_pictures_is_asked_for_by_a_caption(endpoint: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "sub").mkdir(parents=True)
    for n in range(8):
        (tmp_path / "pictures" / "sub" / f"{n}.png").write_bytes(picture(n, file_format="PNG"))
    prepare("all", tmp_path, "--source", str(tmp_path / "pictures"), "--hold-out", "0")
    pairs = list(read_train(tmp_path / "out" / "train.json"))
    assert {pair.image_id for pair in pairs} == {f"sub%2F{n}" for n in range(8)}
    assert all(len(pair.captions) == 2 and pair.query not in pair.captions for pair in pairs)


def test_coco_in_karpathys_split(tmp_path: Path) -> None:
    images = []
    (tmp_path / "val2014").mkdir()
    for n, split in enumerate(["train", "restval", "val", "test", "train"]):
        (tmp_path / "val2014" / f"{n}.jpg").write_bytes(picture(n))
        sentences = [{"raw": f"Caption {word} of picture {n}."} for word in ("one", "two", "three")]
        images.append(
            {"filename": f"{n}.jpg", "filepath": "val2014", "split": split, "sentences": sentences[: 3 - (n == 4)]}
        )
    images.append({"filename": "9.jpg", "filepath": "val2014", "split": "train", "sentences": []})
    (tmp_path / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))
    for step, *flags in (("read", "--source", str(tmp_path / "dataset_coco.json")), ("clean",), ("split",), ("write",)):
        prepare(step, tmp_path, *flags)
    pairs = list(read_train(tmp_path / "out" / "train.json"))
    assert sorted((pair.image_id, len(pair.captions)) for pair in pairs) == [
        *[("0", 2)] * 3,
        *[("1", 2)] * 3,
        *[("4", 1)] * 2,
    ]
    assert all(pair.query not in pair.captions for pair in pairs)
    (valid,) = read_valid(tmp_path / "out" / "dev.valid.jsonl")
    assert (valid.query, valid.items) == ("Caption one of picture 2.", {"2": "Caption two of picture 2."})
    assert report(tmp_path)["read", "missing_field"] == 1


def test_a_dry_run_prices_the_job_and_asks_nothing(
    muge: Path, endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREPARE_TRANSLATE_PRICE", "1000,2000")
    prepare("all", tmp_path, "--source", str(muge), "--limit", "3", "--dry-run")
    told = capsys.readouterr().out
    assert "translate: 6 requests to qwen-mt-flash (0 more are answered already)" in told
    assert " at 1000 and 2000 a million" in told
    assert "caption: 8 requests to qwen3-vl-32b-instruct" in told
    assert "PREPARE_CAPTION_PRICE" in told
    assert not endpoint.requests
    prepare("all", tmp_path, "--source", str(muge))
    capsys.readouterr()
    prepare("caption", tmp_path, "--dry-run", "--captions", "2")
    told = capsys.readouterr().out
    assert "caption: 13 requests" in told, "the validation pictures' single captions are there already"
    prepare("all", tmp_path, "--source", str(muge), "--dry-run")
    told = capsys.readouterr().out
    assert "translate: 0 requests" in told
    assert "(16 more are answered already)" in told


def test_a_limit_is_kept(muge: Path, endpoint: Endpoint, tmp_path: Path) -> None:
    prepare("read", tmp_path, "--source", str(muge))
    prepare("caption", tmp_path, "--limit", "2")
    assert len(endpoint.requests) == 2


def test_raw_folder_to_checkpoint_to_figures(endpoint: Endpoint, tiny_checkpoint: Path, tmp_path: Path) -> None:
    """The commands of the page on one's own catalogue, with a tiny model."""
    prepare("all", tmp_path, "--source", str(write_table(tmp_path / "shop")), "--hold-out", "0.2")
    out, run = tmp_path / "out", tmp_path / "run"
    finetune.main(
        [
            *("--model", str(tiny_checkpoint), "--train", f"{out / 'train.json'}:{out / 'images'}"),
            *("--valid", f"{out / 'dev.valid.jsonl'}:{out / 'images'}", "--output", str(run)),
            *("--features", str(tmp_path / "features"), "--steps", "4", "--batch-size", "8", "--precision", "no"),
        ]
    )
    results = tmp_path / "results.json"
    files = ["--queries", str(out / "dev.valid.jsonl"), "--gallery", str(out / "dev.gallery.jsonl")]
    evaluate.main(["--model", str(run), *files, "--images", str(out / "images"), "--json", str(results)])
    assert {"fused", "text", "image"} <= set(json.loads(results.read_text())["modes"])


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--source", "nowhere"], "does not exist"),
        (["--source", "empty"], "neither MR_"),
        (["--source", "notes.txt"], "neither .csv"),
    ],
)
def test_a_source_that_is_none_says_what_would_be(
    flags: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(SystemExit) as stopped:
        main(["read", *flags])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_families_join_what_looks_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 400, dtype=np.uint64)
    flipped = hashes[:50] ^ (np.uint64(1) << rng.integers(0, 64, 50).astype(np.uint64))
    for _ in range(3):  # four bits in all
        flipped ^= np.uint64(1) << rng.integers(0, 64, 50).astype(np.uint64)
    labels = families(np.concatenate([hashes, flipped, hashes[:5]]))
    assert (labels[400:450] == labels[:50]).all()
    assert (labels[450:] == labels[:5]).all()
    assert len(set(labels[:400].tolist())) == 400
    assert families(np.array([], dtype=np.uint64)).tolist() == []


def test_equal_pictures_are_not_compared_with_each_other() -> None:
    """Twenty thousand million pairs would fill any memory."""
    some = np.arange(5, dtype=np.uint64) << np.uint64(40)
    assert len(families(np.concatenate([np.zeros(200_000, dtype=np.uint64), some]))) == 200_005


def test_a_recompressed_and_smaller_copy_looks_the_same(tmp_path: Path) -> None:
    original = picture(3, size=200)
    smaller = tmp_path / "smaller.jpg"
    with Image.open(io.BytesIO(original)) as image:
        image.resize((90, 90)).save(smaller, quality=50)
    ours, theirs, other = (
        int(check(content).likeness, 16) for content in (original, smaller.read_bytes(), picture(4, size=200))
    )
    assert (ours ^ theirs).bit_count() <= 4
    assert (ours ^ other).bit_count() > 4


def test_sixteen_bits_of_grey_are_not_white() -> None:
    grey = io.BytesIO()
    Image.fromarray(np.full((8, 8), 0x8000, dtype=np.uint16)).save(grey, "PNG")
    with Image.open(io.BytesIO(base64.b64decode(data_url(grey.getvalue()).split(",")[1]))) as sent:
        assert sent.getpixel((4, 4)) == (128, 128, 128)


def test_what_was_read_of_a_source_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Columns of other names would otherwise be noticed when all is paid for."""
    table = tmp_path / "feed.csv"
    table.write_text("id,title,image_link\na,mug,a.jpg\n,cup,b.jpg\n")
    prepare("read", tmp_path, "--source", str(table))
    said = capsys.readouterr().out
    assert said.startswith("read: 1 items, 0 of them with a picture, and 0 queries; left out: 1 row (lacks a field")


def test_ids_that_look_like_numbers_stay_apart(muge: Path, tmp_path: Path) -> None:
    ids = ["007", "7", "07", "²", "9" * 5000]
    for split, start in (("train", 0), ("valid", 100)):
        rows = [
            {"query_id": one, "query_text": f"{split} mug {n}", "item_ids": [start + n % 4]}
            for n, one in enumerate(ids)
        ]
        (muge / f"MR_{split}_queries.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for step, *flags in (("read", "--source", str(muge)), ("clean",), ("split",), ("write",)):
        prepare(step, tmp_path, *flags)
    assert [query.query_id for query in read_valid(tmp_path / "out" / "dev.valid.jsonl")] == ids
    assert [pair.query_id for pair in read_train(tmp_path / "out" / "train.json")] == ids
    assert '"query_id": 7,' in (tmp_path / "out" / "dev.valid.jsonl").read_text()
