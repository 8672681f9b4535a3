"""Nobody's own files are replaced or deleted, whatever folders are named."""

import json
from pathlib import Path

import pytest

from tests.training.prepare.conftest import picture
from tests.training.prepare.test_events import event, learn, search
from training.prepare.__main__ import main


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Twelve products as the README lays them out: `items.jsonl`, and the pictures in `images/` beside it."""
    (tmp_path / "images").mkdir()
    for n in range(12):
        (tmp_path / "images" / f"item-{n}.png").write_bytes(picture(n, file_format="PNG"))
    rows = [{"item_id": f"item-{n}", "title": f"mug {n}", "query": f"red mug {n}"} for n in range(12)]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def prepare(shop: Path, output: Path, *, job: Path | None = None) -> None:
    flags = ["--job", str(job or shop / "job")]
    main(["read", *flags, "--source", str(shop / "items.jsonl")])
    for step in ("clean", "split"):
        main([step, *flags])
    main(["write", *flags, "--output", str(output)])


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_originals_are_no_output(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "images" / "unnamed.png").write_bytes(picture(20))
    before = contents(shop)
    named = ("--source", str(shop / "items.jsonl"), "--output", str(shop), "--captions", "0")
    said = refused(capsys, "all", "--job", str(shop / "job"), "--answers", str(shop / "answers.sqlite"), *named)
    assert "item-0.png was not written by training.prepare" in said
    assert "--output" in said
    assert contents(shop) == before, "not even a job was begun"


def test_files_of_the_same_names_are_no_output(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(shop, shop / "out")
    own = shop / "own"
    own.mkdir()
    for name in ("train.json", "dev.valid.jsonl"):
        (own / name).write_text("made by hand")
        assert name in refused(capsys, "write", "--job", str(shop / "job"), "--output", str(own))
        assert contents(own) == {name: b"made by hand"}
        (own / name).unlink()


def test_an_earlier_output_is_made_anew_with_what_others_put_beside_it(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shop / "out"
    prepare(shop, out)
    (out / "notes.txt").write_text("mine")
    rows = (shop / "items.jsonl").read_text().splitlines()
    (shop / "items.jsonl").write_text("\n".join(rows[1:]))
    prepare(shop, out, job=shop / "another")
    assert {path.name for path in (out / "images").iterdir()} == {f"item-{n}.png" for n in range(1, 12)}
    assert (out / "notes.txt").read_text() == "mine"

    # The first run wrote a picture of this name, too, but it went.
    (out / "images" / "item-0.png").write_bytes(b"mine")
    assert "item-0.png" in refused(capsys, "write", "--job", str(shop / "another"), "--output", str(out))
    assert (out / "images" / "item-0.png").read_bytes() == b"mine"
    (out / "images" / "item-0.png").unlink()
    learn(shop, [search(1), event(1, 2)], "--hold-out", "0")  # into the same folder


@pytest.mark.parametrize("name", ["dev.valid.jsonl", "dev.gallery.jsonl", "events.sqlite"])
def test_a_file_that_takes_the_name_of_an_empty_set_is_no_output(
    name: str, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(shop, shop / "out")
    learn(shop, [search(1), event(1, 2)], "--hold-out", "0")  # without a test set
    assert not (shop / "out" / name).exists()
    (shop / "out" / name).write_text("mine")
    flags = ("--job", str(shop / "job"), "--output", str(shop / "out"))
    assert name in refused(capsys, "events", *flags, "--log", str(shop / "events"))
    assert (shop / "out" / name).read_text() == "mine"


def test_write_leaves_no_claim_on_an_empty_set(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(shop, shop / "out")
    main(["split", "--job", str(shop / "job"), "--hold-out", "0"])
    write = ("write", "--job", str(shop / "job"), "--output", str(shop / "out"))
    main(write)
    assert not (shop / "out" / "dev.gallery.jsonl").exists()
    (shop / "out" / "dev.gallery.jsonl").write_text("mine")
    assert "dev.gallery.jsonl" in refused(capsys, *write)


def test_clicks_are_not_written_among_originals(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(shop, shop / "out")
    learn(shop, [search(1), event(1, 2)])
    before = contents(shop)
    flags = ("--job", str(shop / "job"), "--log", str(shop / "events"), "--output", str(shop))
    assert "was not written by training.prepare" in refused(capsys, "events", *flags)
    assert contents(shop) == before


def test_pictures_that_no_job_wrote_are_no_jobs(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Reading begins by deleting the job's pictures."""
    (shop / "images").rename(shop / "pictures")
    before = contents(shop)
    for source in ("items.jsonl", "pictures", "."):
        said = refused(capsys, "read", "--job", str(shop), "--source", str(shop / source))
        assert "name a new folder as --job" in said
        assert contents(shop) == before


def test_a_jobs_pictures_are_no_source_of_its_own(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(shop, shop / "out")
    before = contents(shop / "job" / "pictures")
    for source in ("job/pictures", "job", "."):
        said = refused(capsys, "read", "--job", str(shop / "job"), "--source", str(shop / source))
        assert "name another folder as --job" in said
        assert contents(shop / "job" / "pictures") == before
