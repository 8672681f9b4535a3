"""Results for people: the table, the comparison, and a Markdown report with plots and pictures."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import numpy.typing as npt

matplotlib.use("agg")  # files only: a report is written on machines without a display
from matplotlib import pyplot as plt
from PIL import Image

from training.compare import RESULTS
from training.formats import ValidQuery
from training.markdown import markdown_table
from training.metrics import METRICS, NOT_FOUND

if TYPE_CHECKING:
    from training.gallery import EncodedGallery

# Okabe and Ito's palette, which people with any colour vision can tell apart; one colour a mode in every plot.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#7F7F7F", "#D55E00", "#56B4E9", "#000000", "#F0E442")
_RIGHT, _WRONG = "#009E73", "#BBBBBB"  # frames of pictures
_SHOWN = 6  # best and worst queries in the report, each
_TOP = 5  # of the ranked items shown for each
_LISTED = 10  # queries that a comparison names, each way


def table(modes: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of all modes in per cent, with the interval of each figure, as Markdown that reads well as text."""
    rows = [["mode", *METRICS]]
    for mode, values in modes.items():
        cells = [f"{values[name]:.1f} ({low:.1f}–{high:.1f})" for name, (low, high) in _ordered(values["intervals"])]
        rows.append([mode, *cells])
    return markdown_table(rows)


def comparison(result: Mapping[str, Any], texts: Mapping[str, str]) -> str:
    """What changed against another run: paired differences of every mode, and the first mode's queries by name.

    Args:
        result: what `training.compare.compare` returns.
        texts: what each query asks, by its id.
    """
    mode = next(iter(result["modes"]))
    metrics = [name for name in METRICS if name in result["modes"][mode]["difference"]]
    rows = [["mode", *metrics, "better", "worse", "same"]]
    for name, own in result["modes"].items():
        cells = [_signed(own["difference"][metric]) for metric in metrics]
        rows.append([name, *cells, str(len(own["better"])), str(len(own["worse"])), str(own["same"])])
    parts = [
        f"Against {result['against']}, {result['queries']} queries in common (points; * where the 95 % interval of the "
        f"paired bootstrap leaves out zero):\n\n{markdown_table(rows)}",
        *result["notes"],
    ]
    for title in ("better", "worse"):
        changes = result["modes"][mode][title][:_LISTED]
        if changes:
            listed = [[_cell(texts[c["query_id"]]), _rank(c["before"]), _rank(c["after"])] for c in changes]
            parts.append(f"{mode}, {title}:\n\n" + markdown_table([["query", "rank before", "rank now"], *listed]))
    return "\n\n".join(parts)


def write(
    folder: Path,
    title: str,
    results: Mapping[str, Any],
    gallery: "EncodedGallery",
    queries: Sequence[ValidQuery],
    ranks: Mapping[str, Sequence[npt.NDArray[np.int64]]],
) -> Path:
    """Write `report.md`, its plots, and `results.json` (for a later `--compare`) into a folder.

    The report shows the best and worst queries of the fused mode. Best are those found at once which the other modes
    rank lowest: what fusion is for. No two of them share an answer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULTS).write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    first = {mode: np.array([own[0] for own in ranks[mode]]) for mode in ranks}
    _plot_recall(folder / "recall.png", first)
    _plot_intervals(folder / "intervals.png", results["modes"])

    fused = first["fused"]
    others = np.stack([own for mode, own in first.items() if mode in ("text", "image")] or [fused])
    best = _distinct(np.lexsort((-others.min(axis=0), fused)), queries)
    worst = _distinct(np.argsort(-fused, kind="stable"), queries)
    parts = [
        f"# {title}",
        f"Model `{results['model_id']}`, {results['queries']} queries over {results['gallery']} items. A query counts "
        "at k if any item that answers it is among the first k of the whole gallery; figures in per cent, with "
        "95 % bootstrap intervals over the queries.",
        table(results["modes"]),
        *results["notes"],
        "![Share of queries answered within the first k](recall.png)",
        "![Hit at 1, 5 and 10 with intervals](intervals.png)",
    ]
    if "comparison" in results:
        parts += ["## Comparison", comparison(results["comparison"], {q.query_id: q.query for q in queries})]
    for name, chosen in (("best", best), ("worst", worst)):
        parts += [f"## The {name} queries", _examples(folder / f"{name}.png", name, chosen, gallery, queries, first)]
    path = folder / "report.md"
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _distinct(order: npt.NDArray[np.int64], queries: Sequence[ValidQuery]) -> list[int]:
    """The first queries of an order that share no answer: one hard item would otherwise fill the whole list."""
    chosen: list[int] = []
    answers: set[str] = set()
    for n in order:
        if len(chosen) < _SHOWN and answers.isdisjoint(queries[n].items):
            chosen.append(int(n))
            answers.update(queries[n].items)
    return chosen


def _examples(
    picture: Path,
    name: str,
    chosen: Sequence[int],
    gallery: "EncodedGallery",
    queries: Sequence[ValidQuery],
    first: Mapping[str, npt.NDArray[np.int64]],
) -> str:
    """A table of the chosen queries and what they found, under a sheet of pictures if there are any."""
    shown = [queries[n] for n in chosen]
    scores = gallery.scores([query.query for query in shown])["fused"]
    found = [[gallery.items[column] for column in np.argsort(-row, kind="stable")[:_TOP]] for row in scores]
    modes = [mode for mode in ("fused", "text", "image", "bm25") if mode in first]
    rows = [["query", "first answer", "found first", *(f"rank, {mode}" for mode in modes)]]
    for n, query, hits in zip(chosen, shown, found, strict=True):
        answer = min(query.items, key=lambda item_id: gallery.columns[item_id])
        answer = next((hit.item_id for hit in hits if hit.item_id in query.items), answer)
        texts = [query.query, gallery.items[gallery.columns[answer]].text, hits[0].text]
        rows.append([*map(_cell, texts), *(_rank(first[mode][n]) for mode in modes)])
    parts = [markdown_table(rows)]
    if gallery.pictures is not None:
        _sheet(picture, gallery, shown, [[hit.item_id for hit in hits] for hits in found])
        parts.insert(0, f"![The {name} queries: an item that answers, then the first {_TOP} found]({picture.name})")
    return "\n\n".join(parts)


def _sheet(
    path: Path, gallery: "EncodedGallery", queries: Sequence[ValidQuery], found: Sequence[Sequence[str]]
) -> None:
    """One row a query: an item that answers it, then the first items found, framed green where they answer."""
    columns = 1 + _TOP
    figure, axes = plt.subplots(
        len(queries), columns, figsize=(1.7 * columns, 2.1 * len(queries)), squeeze=False, layout="constrained"
    )
    for row, query, hits in zip(axes, queries, found, strict=True):
        wanted = next((item_id for item_id in hits if item_id in query.items), next(iter(query.items)))
        title = f"“{_short(query.query, 44)}”"
        row[0].set_title(title, fontsize=8, loc="left", fontweight="bold", parse_math=False)  # $ is money here
        for place, axis in enumerate(row):
            axis.set_axis_off()
            if place > len(hits):
                continue
            item_id = wanted if place == 0 else hits[place - 1]
            frame = "black" if place == 0 else _RIGHT if item_id in query.items else _WRONG
            _show(axis, gallery, item_id, frame)
            if place:
                axis.text(0.5, -0.02, str(place), transform=axis.transAxes, ha="center", va="top", fontsize=7)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _show(axis: Any, gallery: "EncodedGallery", item_id: str, frame: str) -> None:
    """An item's picture in a frame, or the beginning of its text where it has none."""
    assert gallery.pictures is not None
    tile = Image.new("RGB", (160, 160), "white")
    if item_id in gallery.pictures:
        picture = gallery.pictures.load(item_id)
        picture.thumbnail(tile.size)
        tile.paste(picture, ((160 - picture.width) // 2, (160 - picture.height) // 2))
    else:
        text = textwrap.fill(_short(gallery.items[gallery.columns[item_id]].text, 60), 20)
        axis.text(80, 80, text, ha="center", va="center", fontsize=6, parse_math=False)
    axis.imshow(tile)
    axis.add_patch(plt.Rectangle((0, 0), 159, 159, fill=False, edgecolor=frame, linewidth=3))


def _plot_recall(path: Path, first: Mapping[str, npt.NDArray[np.int64]]) -> None:
    """Share of queries answered within the first k, over k."""
    figure, axis = plt.subplots(figsize=(7, 4.2), layout="constrained")
    k = np.arange(1, 101)
    for colour, (mode, ranks) in zip(_COLOURS, first.items(), strict=False):
        axis.plot(k, [100 * np.mean(ranks <= at) for at in k], label=mode, color=colour, linewidth=2)
    axis.set(xscale="log", xlabel="k", ylabel="queries answered within the first k, %", ylim=(0, 100), xlim=(1, 100))
    axis.set_xticks([1, 5, 10, 20, 50, 100], ["1", "5", "10", "20", "50", "100"])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _plot_intervals(path: Path, modes: Mapping[str, Mapping[str, Any]]) -> None:
    """hit@1, hit@5 and hit@10 of every mode with their intervals."""
    names = ("hit@1", "hit@5", "hit@10")
    figure, axes = plt.subplots(1, len(names), figsize=(9, 0.9 + 0.4 * len(modes)), sharey=True, layout="constrained")
    for axis, name in zip(axes, names, strict=True):
        for place, (colour, values) in enumerate(zip(_COLOURS, modes.values(), strict=False)):
            low, high = values["intervals"][name]
            axis.plot([low, high], [place, place], color=colour, linewidth=3, solid_capstyle="butt")
            axis.plot(values[name], place, "o", color=colour)
        axis.set(title=name, yticks=range(len(modes)), yticklabels=list(modes), xlabel="%")
        axis.grid(axis="x", alpha=0.3)
    axes[0].invert_yaxis()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _ordered(intervals: Mapping[str, Sequence[float]]) -> list[tuple[str, Sequence[float]]]:
    return [(name, intervals[name]) for name in METRICS]


def _signed(change: Mapping[str, float]) -> str:
    star = "*" if change["low"] > 0 or change["high"] < 0 else ""
    return f"{change['difference']:+.1f}{star} ({change['low']:+.1f} to {change['high']:+.1f})"


def _rank(rank: int) -> str:
    return str(rank) if rank < NOT_FOUND else "not found"


def _cell(text: str) -> str:
    """Shoppers' and sellers' words, made harmless inside a Markdown table."""
    return _short(" ".join(text.split()), 90).replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;")


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
