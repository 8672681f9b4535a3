"""Measure a retriever: `python -m training.evaluate --model compact --queries X.valid.jsonl`.

Prints one table of recall (see `training.metrics` for the definitions) for every mode (see `training.gallery`), with
95 % bootstrap intervals; writes it as JSON and as a Markdown report with plots and pictures; and compares it with a
run that was saved before.
"""

import argparse
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from tqdm import tqdm

import retriever
from retriever import Retriever
from retriever.index import IndexUnavailable
from retriever.inference import Inference
from training import formats, report
from training.arguments import count, make_room
from training.compare import compare, in_common, load_results
from training.formats import ValidQuery
from training.gallery import EncodedGallery
from training.json_records import FormatError
from training.metrics import METRICS, Ranks, bootstrap_intervals, positive_ranks, query_metrics
from training.picture_folder import pictures_of
from training.rerank import rank_reranked
from training.through_index import rank_through_index
from training.weights import broken_weights


def rank(gallery: EncodedGallery, queries: Sequence[ValidQuery]) -> Ranks:
    """Ranks of every query's positives, all of them in the gallery, over the whole of it, under each mode."""
    ranks: Ranks = {mode: [] for mode in gallery.modes}
    with tqdm(total=len(queries), desc="queries", unit="query") as bar:
        for part in gallery.chunks(len(queries)):
            chunk = queries[part]
            positives = [[gallery.columns[item_id] for item_id in query.items] for query in chunk]
            for mode, scores in gallery.scores([query.query for query in chunk]).items():
                ranks[mode] += positive_ranks(scores, positives)
            bar.update(len(chunk))
    return ranks


def summarise(ranks: Ranks) -> dict[str, dict[str, Any]]:
    """Metrics in per cent with their intervals, `{mode: {"hit@1": …, …, "intervals": {"hit@1": [low, high], …}}}`."""
    modes = {}
    for mode, own in ranks.items():
        values = query_metrics(own)
        intervals = bootstrap_intervals(values)
        modes[mode] = {
            **{name: round(100 * float(values[name].mean()), 4) for name in METRICS},
            "intervals": {name: [round(100 * bound, 4) for bound in intervals[name]] for name in METRICS},
        }
    return modes


def results_of(gallery: EncodedGallery, queries: Sequence[ValidQuery], ranks: Ranks) -> dict[str, Any]:
    """What `--json` writes: figures, the model, the set's sizes, a digest of the gallery, and of each query a digest of
    what was asked and the rank of its first positive.
    """
    return {
        "modes": summarise(ranks),
        "model_id": gallery.retriever.model_id,
        "inference": gallery.retriever.inference,
        "queries": len(queries),
        "gallery": len(gallery.items),
        "gallery_digest": _digest([[item.item_id, item.text] for item in gallery.items]),
        "notes": gallery.notes,
        "asked": query_digests(queries),
        "per_query": {
            mode: {query.query_id: int(positions[0]) for query, positions in zip(queries, own, strict=True)}
            for mode, own in ranks.items()
        },
    }


def query_digests(queries: Sequence[ValidQuery]) -> dict[str, str]:
    """A digest of each query's words and answers, by its id: a set that is made again numbers them anew."""
    return {query.query_id: _digest([query.query, sorted(query.items)]) for query in queries}


def _digest(values: list[Any]) -> str:
    """Twelve hexadecimal digits."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:12]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_line()
    options = parser.parse_args(arguments)
    if options.rerank and options.inference not in ("torch", "bf16", "graphs"):
        parser.error("--rerank runs in torch: leave out --inference")
    try:
        _run(options)
    except (ValueError, OSError, IndexUnavailable) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def _run(options: argparse.Namespace) -> None:
    # Whatever is wrong with the files is found before the model spends minutes on them.
    queries = list(formats.read_valid(options.queries))
    items = list(formats.read_gallery(options.gallery)) if options.gallery else formats.gallery_of(queries)
    formats.check_answers(queries, items, options.queries)
    pictures = pictures_of(items, options.queries, options.images)
    previous = load_results(options.compare) if options.compare else None
    if previous is not None:
        in_common(query_digests(queries), previous["asked"])
    _check_outputs(options.json, options.report)

    try:
        model = retriever.load(options.model, options.device, options.inference)
    except RuntimeError as error:  # no such device
        raise ValueError(error) from error
    _check_weights(options.model, model)
    if options.rerank and not model.config.matching:
        raise ValueError(f"{options.model} was not trained to match (training.finetune --itm): no --rerank")
    gallery = EncodedGallery(model, items, pictures, batch_size=options.batch_size)
    ranks = rank(gallery, queries)
    if options.through_index:
        ranks |= rank_through_index(gallery, queries, os.environ.get("QDRANT_URL"), os.environ.get("QDRANT_API_KEY"))
    if options.rerank:
        ranks |= rank_reranked(gallery, queries, options.rerank)
    results = results_of(gallery, queries, ranks)

    print(f"\n{options.model} ({results['model_id']}): {len(queries)} queries over {len(items)} items\n")
    print(report.table(results["modes"]))
    for note in results["notes"]:
        print(f"\n{note}")
    if previous is not None:
        results["comparison"] = compare(results, previous)
        print("\n" + report.comparison(results["comparison"], {query.query_id: query.query for query in queries}))
    if options.json:
        options.json.write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if options.report:
        written = report.write(
            options.report, f"{options.model} on {options.queries.name}", results, gallery, queries, ranks
        )
        print(f"\nReport: {written}")


def _check_weights(name: str, model: Retriever) -> None:
    """Raises ValueError if weights are NaN or infinite: attention may hide them, and the figures would look sound."""
    if model.inference in ("onnx", "int8"):
        return  # in their graphs no weight can be looked at
    if broken := broken_weights(model.model.state_dict()):
        raise ValueError(f"{name}: {len(broken)} of its weights are no numbers ({broken[0]}): this model is broken")


def _check_outputs(results: Path | None, folder: Path | None) -> None:
    """Make the folders of what will be written. Raises FormatError or OSError if it cannot be written there."""
    if results is not None:
        make_room(results, "--json")
    if folder is not None:
        if folder.is_file():
            raise FormatError(f"--report {folder} is a file: name a folder")
        folder.mkdir(parents=True, exist_ok=True)


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description="Measure a retriever on a set in the seed's format."
    )
    parser.add_argument("--model", default="compact", help="shipped name, checkpoint folder or hub name (compact)")
    parser.add_argument("--queries", type=Path, required=True, metavar="VALID.jsonl")
    parser.add_argument(
        "--gallery",
        type=Path,
        metavar="GALLERY.jsonl",
        help="candidates (the queries' own items, whatever lies beside them)",
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="pictures by item id (images/ beside the queries)")
    parser.add_argument(
        "--through-index",
        action="store_true",
        help="also through the index (embedded, or the server at QDRANT_URL): what the engine loses",
    )
    parser.add_argument(
        "--rerank",
        type=count,
        metavar="K",
        help="also put the first K items into the order of their matching (of a model trained with --itm)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    parser.add_argument("--report", type=Path, metavar="DIR", help="write a Markdown report with plots and pictures")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="results or report folder of another run")
    parser.add_argument(
        "--inference",
        choices=get_args(Inference),
        default="torch",
        help="how the model is run: what a faster way costs in recall (torch, the reference)",
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch-size", type=count, default=32, help="items encoded at once (32)")
    return parser


if __name__ == "__main__":
    main()
