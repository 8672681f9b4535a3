"""Raw files of a toy shop in the formats that sources come in, and an endpoint for their models."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.prepare.endpoint import Endpoint, serving


def picture(seed: int, size: int = 48, file_format: str = "JPEG") -> bytes:
    """Blots of a colour of its own: no two seeds look alike, to people or to a perceptual hash."""
    rng = np.random.default_rng(seed)
    blots = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(blots).resize((size, size), Image.Resampling.BICUBIC).save(buffer, file_format)
    return buffer.getvalue()


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    with serving() as running:
        for name, value in running.settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("training.prepare.endpoint.FIRST_PAUSE", 0.01)
        yield running


@pytest.fixture
def muge(tmp_path: Path) -> Path:
    """Twelve training queries in Chinese, four of validation, each with one picture of its own and one shared."""
    folder = tmp_path / "muge"
    folder.mkdir()
    for split, start, count in (("train", 0, 12), ("valid", 100, 4)):
        queries = [
            {"query_id": start + n, "query_text": f"红色杯子 {start + n}", "item_ids": [start + n, start + 50]}
            for n in range(count)
        ]
        lines = [json.dumps(query, ensure_ascii=False) for query in queries]
        (folder / f"MR_{split}_queries.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        with (folder / f"MR_{split}_imgs.tsv").open("wb") as file:
            for item_id in [*range(start, start + count), start + 50]:
                file.write(str(item_id).encode() + b"\t" + base64.urlsafe_b64encode(picture(item_id)) + b"\n")
    return folder
