"""Peak memory of reading a TSV of pictures: `python -m benchmarks.prepare_memory --gigabytes 2`.

Writes a TSV of pictures in base64 as MUGE's are, runs `training.prepare read` over a twentieth of it (the baseline:
what the program takes in any case) and over all of it, each in a process of its own, and prints the peaks and their
ratio. Needs disk of about twice the size.
"""

import argparse
import base64
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 600  # pixels; about 1.4 MB a line


def rows(bytes_wanted: float) -> Iterator[bytes]:
    """Lines of a TSV until there are so many bytes; every picture is another one."""
    rng = np.random.default_rng(0)
    item_id = written = 0
    while written < bytes_wanted:
        buffer = io.BytesIO()
        blots = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((SIDE, SIDE))
        blots.save(buffer, "PNG", compress_level=0)
        line = f"{item_id}\t".encode() + base64.b64encode(buffer.getvalue()) + b"\n"
        yield line
        written += len(line)
        item_id += 1


def peak(folder: Path, gigabytes: float) -> tuple[int, int]:
    """Peak resident memory in bytes, and the number of pictures."""
    source = folder / "raw"
    source.mkdir(parents=True)
    count = 0
    with (source / "MR_train_imgs.tsv").open("wb") as file:
        for line in rows(gigabytes * 1e9):
            file.write(line)
            count += 1
    query = {"query_id": 1, "query_text": "all of them", "item_ids": list(range(count))}
    (source / "MR_train_queries.jsonl").write_text(json.dumps(query))
    command = [sys.executable, "-m", "training.prepare", "read", "--source", source, "--job", folder / "job"]
    process = subprocess.Popen([str(part) for part in command])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"training.prepare ended with status {status}")
    return usage.ru_maxrss * 1024, count


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.prepare_memory", description="Memory of training.prepare."
    )
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--folder", type=Path, help="where to write (a temporary folder)")
    options = parser.parse_args()
    found = []
    for gigabytes in (options.gigabytes / 20, options.gigabytes):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            found.append((gigabytes, *peak(Path(folder), gigabytes)))
    for gigabytes, used, count in found:
        print(f"{gigabytes:5.2f} GB, {count:,} pictures: peak {used / 2**20:,.0f} MiB")
    print(f"ratio {found[1][1] / found[0][1]:.2f}")


if __name__ == "__main__":
    main()
