"""`python -m benchmarks.gpu`: what a GPU does for the models, in minutes: checks, encoding, training, the service.

Parts: `peak` (what the card reaches at best), `check` (captured graphs and bfloat16 against full precision on the
CPU), `compact` and `blip2` (encoding), `train`, and `service` (searches and uploads over HTTP, beside the same service
on the CPU). Each prints its tables, and writes them to gpu.json as soon as it is done. One that fails is told and
passed over; the exit status says so. Inputs are random, never zero: a matrix product of zeros is faster. Times are of
arrays in host memory to vectors in host memory, if nothing else is said.
"""

import argparse
import json
import platform
import sys
import traceback
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

import retriever
from benchmarks import gpu_encoding, gpu_service, gpu_training
from benchmarks.arguments import number, numbers
from benchmarks.catalogue import queries, texts
from benchmarks.gpu_measure import Gpu, Row, aligned
from benchmarks.measure import machine, table
from examples.demo_catalogue import products
from retriever import PRESETS, ItemInput, Retriever, RetrieverConfig
from retriever.arrays import Floats
from retriever.inference import Inference

# Of vectors to those of full precision on the CPU. bfloat16 keeps eight bits of each number; a GPU convolves float32
# with eleven unless told otherwise.
# A drawing's plain ground suffers most: what hardly varies there is brought to unit variance, its errors with it.
LEAST_COSINE: dict[str, float] = {"torch": 0.99, "bf16": 0.9, "graphs": 0.9, "graphs to bf16": 0.9}
LEAST_MEAN = {"torch": 0.999, "bf16": 0.99, "graphs": 0.99, "graphs to bf16": 0.99}
CHECKED = (1, 3, 5, 37, 70)  # rows; no powers of two, and beyond the largest graph


def peak(gpu: Gpu, side: int) -> dict[str, list[Row]]:
    """The denominators of all shares: a matrix product in bfloat16, and a copy on the device."""
    left, right = (torch.randn(side, side, device=gpu.device, dtype=torch.bfloat16) for _ in range(2))
    product = gpu.timed(lambda: left @ right)
    gpu.peak = 2 * side**3 / (product.median / 1000)
    source = torch.randn(side * side * 4, device=gpu.device)
    target = torch.empty_like(source)
    copy = gpu.timed(lambda: target.copy_(source))
    moved = 2 * source.numel() * source.element_size()
    row = {
        "side": side,
        "matmul ms": product.median,
        "TFLOP/s": gpu.peak / 1e12,
        "copy GB/s": moved / (copy.median / 1000) / 1e9,
    }
    return {"peak": [row]}


def check(gpu: Gpu, model: str, ways: Sequence[Inference]) -> dict[str, list[Row]]:
    """Least and mean cosine to full precision on the CPU, of every kind of input at odd batch sizes.

    One that is too small is a failure.
    """
    reference = retriever.load(model)
    pixels = [reference.processor.image(product.picture()) for product in islice(products(), max(CHECKED))]
    wanted = _vectors(reference, pixels)
    found = {way: _vectors(loaded, pixels) for way, loaded in gpu_encoding.load(gpu, model, ways).items()}
    rows: list[Row] = []
    wrong = []
    for kind in wanted:
        compared = {str(way): _cosines(own[kind], wanted[kind]) for way, own in found.items()}
        if "graphs" in found and "bf16" in found:
            compared["graphs to bf16"] = _cosines(found["graphs"][kind], found["bf16"][kind])
        row: Row = {"input": kind}
        for name, cosines in compared.items():
            least, mean = cosines.min().item(), cosines.mean().item()
            row |= {f"{name}: least": least, f"{name}: mean": mean}
            if not (least >= LEAST_COSINE[name] and mean >= LEAST_MEAN[name]):  # so written that NaN is wrong too
                wrong.append(f"{name}, {kind}: least {least:.5f}, mean {mean:.5f}")
        rows.append(row)
    if wrong:
        gpu.failures.append(f"vectors are off: {'; '.join(wrong)}")
    return {"check": [{name: _digits(value) for name, value in row.items()} for row in rows]}


def _vectors(model: Retriever, pixels: Sequence[Floats]) -> dict[str, Floats]:
    """By kind of input, `(N, D)`. Batches shrink as well as grow: what a graph kept of the last one would show."""
    titles, asked = texts(max(CHECKED)), queries(max(CHECKED))
    asked[::5] = [
        f"{query} that is not {other}, or much like it" for query, other in zip(asked[::5], asked[1::5], strict=True)
    ]
    made: dict[str, list[Floats]] = {"query": [], "picture and text": [], "picture": [], "text": []}
    for count in (*CHECKED, *CHECKED[-2::-1]):
        rows = range(count)
        made["query"].append(model.encode_queries(asked[:count]))
        made["picture and text"].append(model.encode_items([ItemInput(pixels[i], titles[i]) for i in rows]))
        made["picture"].append(model.encode_items([ItemInput(pixels[i]) for i in rows]))
        made["text"].append(model.encode_items([ItemInput(text=titles[i]) for i in rows]))
    return {kind: np.concatenate(parts).reshape(-1, model.config.embed_dim) for kind, parts in made.items()}


def _cosines(ours: Floats, theirs: Floats) -> Floats:
    found: Floats = (ours * theirs).sum(axis=-1) / np.linalg.norm(ours, axis=-1) / np.linalg.norm(theirs, axis=-1)
    return found


def _digits(value: Any) -> str:
    return f"{value:.5f}" if isinstance(value, float) else value


def main(arguments: Sequence[str] | None = None, blip2: RetrieverConfig = PRESETS["blip2"]) -> dict[str, list[Row]]:
    """Prints each table as soon as it is measured; returns all. Exits with 1 if a part failed."""
    options = _parse(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    gpu = Gpu(torch.device(options.device), options.seconds, options.batches)
    cuda = gpu.device.type == "cuda"
    ways: list[Inference] = ["torch", "bf16", "graphs"] if cuda else ["torch", "bf16"]
    parts: dict[str, Callable[[], dict[str, list[Row]]]] = {
        "peak": lambda: peak(gpu, options.side),
        "check": lambda: check(gpu, options.model, ways),
        "compact": lambda: gpu_encoding.compact(gpu, options.model, ways, options.pictures),
        "blip2": lambda: gpu_encoding.blip2(gpu, blip2),
        "train": lambda: gpu_training.measure(gpu, options.model, blip2, options.train_batches),
        "service": lambda: gpu_service.measure(
            gpu, options.output, options.model, options.size, options.clients, options.uploads
        ),
    }
    about = {
        "device": torch.cuda.get_device_name(gpu.device) if cuda else "cpu",
        "host": machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "seconds of each measurement": options.seconds,
    }
    print("; ".join(f"{name}: {value}" for name, value in about.items()), flush=True)
    tables: dict[str, list[Row]] = {}
    for name in [name for name in parts if name in options.parts]:
        started = perf_counter()
        print(f"\n## {name}", flush=True)
        try:
            made = parts[name]()
        except Exception as error:
            traceback.print_exc()
            gpu.failures.append(f"{name}: {type(error).__name__}: {error}")
            made = {}
        gpu.clear()
        for title, rows in made.items():
            tables[title] = aligned(rows)
            print(f"\n{title}\n\n{table(tables[title])}")
        print(f"\n{name} took {perf_counter() - started:.1f} s", flush=True)
        results = {"about": about, "tables": tables, "failures": gpu.failures}
        (options.output / "gpu.json").write_text(json.dumps(results, indent=1) + "\n")
    if gpu.failures:
        sys.exit("failed: " + "; ".join(gpu.failures))
    return tables


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").splitlines()[0])
    names = ["peak", "check", "compact", "blip2", "train", "service"]
    parser.add_argument("--parts", nargs="+", choices=names, default=names, help="(all)")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1; cpu only tries the benchmark out (cuda)")
    parser.add_argument("--model", default="compact", help="shipped name, checkpoint folder or hub name (compact)")
    parser.add_argument("--batches", type=numbers, default=[1, 8, 32, 128, 512], help="of encoding (1,8,32,128,512)")
    parser.add_argument("--train-batches", type=numbers, default=[16, 64, 128, 256], help="of blip2 (16,64,128,256)")
    parser.add_argument("--pictures", type=number, default=1024, help="compressed pictures that are encoded (1024)")
    parser.add_argument("--size", type=number, default=20_000, help="of the service's catalogue (20000)")
    parser.add_argument("--clients", type=numbers, default=[1, 8, 64], help="of the service (1,8,64)")
    parser.add_argument("--uploads", type=number, default=200, help="products with pictures sent to the service (200)")
    parser.add_argument("--side", type=number, default=8192, help="of the matrices that find the peak (8192)")
    parser.add_argument("--seconds", type=float, default=0.4, help="of each measurement (0.4)")
    parser.add_argument("--output", type=Path, default=Path("runs/gpu"), help="for gpu.json (runs/gpu)")
    options = parser.parse_args(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("torch finds no GPU here (--device cpu tries the benchmark out)")
    return options


if __name__ == "__main__":
    main()
