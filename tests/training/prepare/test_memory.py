"""Nothing holds a whole data set in memory. `benchmarks/prepare_memory.py` shows it at two gigabytes."""

import base64
import io
import json
import tracemalloc
from pathlib import Path

import numpy as np
from PIL import Image

from training.prepare.job import Job
from training.prepare.read import read
from training.prepare.sources import lines


def test_a_tsv_is_read_as_a_stream(tmp_path: Path) -> None:
    """A file of 40 MB in a fifth of that."""
    rng = np.random.default_rng(0)
    with (tmp_path / "MR_train_imgs.tsv").open("wb") as file:
        for item_id in range(40):
            buffer = io.BytesIO()
            blots = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((500, 500))
            blots.save(buffer, "PNG", compress_level=0)
            file.write(f"{item_id}\t".encode() + base64.b64encode(buffer.getvalue()) + b"\n")
    query = {"query_id": 1, "query_text": "all", "item_ids": list(range(40))}
    (tmp_path / "MR_train_queries.jsonl").write_text(json.dumps(query))
    assert (tmp_path / "MR_train_imgs.tsv").stat().st_size > 40e6
    with Job(tmp_path / "job", begin=True) as job:
        tracemalloc.start()
        read(job, str(tmp_path))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert job.one("SELECT COUNT(*) FROM items") == 40
    assert peak < 8e6


def test_a_line_without_end_is_skipped_without_being_held(tmp_path: Path) -> None:
    path = tmp_path / "long.tsv"
    with path.open("wb") as file:
        file.write(b"1\tfirst\n")
        for _ in range(64):
            file.write(b"x" * 2**20)
        file.write(b"\n3\tthird")
    tracemalloc.start()
    found = list(lines(path, longest=2**20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [(1, b"1\tfirst\n"), (2, None), (3, b"3\tthird")]
    assert peak < 4e6
