"""One saved evaluation against another, query by query: is the difference real, and which queries made it?"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from training.json_records import FormatError
from training.metrics import first_rank_metrics, paired_difference

RESULTS = "results.json"  # in a report's folder


def load_results(path: Path) -> dict[str, Any]:
    """What `training.evaluate --json` wrote, or the results in a folder that `--report` wrote.

    Raises:
        FormatError: the file is not there, or is something else, or does not say what was asked.
    """
    path = path / RESULTS if path.is_dir() else path
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FormatError(
            f"{path}: no such results; write them with `training.evaluate --json` or `--report`"
        ) from None
    except ValueError as error:
        raise FormatError(f"{path}: not JSON ({error})") from error
    if not isinstance(results, dict) or not isinstance(results.get("per_query"), dict) or "model_id" not in results:
        raise FormatError(f"{path}: not what `training.evaluate --json` writes (no model_id or no per_query)")
    if not isinstance(results.get("asked"), dict):
        raise FormatError(f"{path}: an older version wrote this, without what was asked; measure that model again")
    return results


def in_common(ours: Mapping[str, str], theirs: Mapping[str, str]) -> set[str]:
    """Ids of the queries that are the same in both, by their digests.

    Raises:
        FormatError: there are none.
    """
    same = {query_id for query_id, digest in ours.items() if theirs.get(query_id) == digest}
    if not same:
        raise FormatError("the two results have no query in common: were they measured on different sets?")
    return same


def compare(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Difference of two results over the modes that both have and the queries that are the same in both, by id, words
    and answers.

    Returns:
        `{"against": model_id, "queries": in common, "notes": […], "modes": {mode: {"difference": {metric:
        {"difference", "low", "high"}}, "better": [{"query_id", "before", "after"}, …], "worse": […], "same": n}}}`.
        Differences are in percentage points, with 95 % intervals of the paired bootstrap; ranks are of the first
        positive; the queries whose reciprocal rank changed most come first.

    Raises:
        FormatError: they have no mode or no query in common.
    """
    same = in_common(ours["asked"], theirs["asked"])
    others = len(ours["asked"].keys() & theirs["asked"].keys()) - len(same)
    modes = [mode for mode in ours["per_query"] if mode in theirs["per_query"]]
    if not modes:
        raise FormatError("the two results have no mode in common, so there is nothing to compare")
    result: dict[str, Any] = {"against": theirs["model_id"], "notes": _notes(ours, theirs, others), "modes": {}}
    for mode in modes:
        after, before = ours["per_query"][mode], theirs["per_query"][mode]
        common = [query_id for query_id in after if query_id in before and query_id in same]
        if not common:
            raise FormatError(f"the two results have no query in common under {mode}: measure that model again")
        new = np.array([after[query_id] for query_id in common], dtype=np.int64)
        old = np.array([before[query_id] for query_id in common], dtype=np.int64)
        differences = paired_difference(first_rank_metrics(new), first_rank_metrics(old))
        gain = 1 / new - 1 / old
        changes = [
            {"query_id": common[n], "before": int(old[n]), "after": int(new[n])}
            for n in np.argsort(-np.abs(gain), kind="stable")
            if gain[n] != 0
        ]
        result["queries"] = len(common)
        result["modes"][mode] = {
            "difference": {
                name: {part: round(100 * value, 4) for part, value in asdict(change).items()}
                for name, change in differences.items()
            },
            "better": [change for change in changes if change["after"] < change["before"]],
            "worse": [change for change in changes if change["after"] > change["before"]],
            "same": len(common) - len(changes),
        }
    return result


def _notes(ours: Mapping[str, Any], theirs: Mapping[str, Any], others: int) -> list[str]:
    notes = []
    if ours["gallery"] != theirs.get("gallery"):
        notes.append(f"The galleries differ ({ours['gallery']} items here, {theirs.get('gallery')} there).")
    elif "gallery_digest" in theirs and ours["gallery_digest"] != theirs["gallery_digest"]:
        notes.append("The galleries differ: as many items, but not the same ones, or with other texts.")
    if ours["queries"] != theirs.get("queries"):
        notes.append(f"The queries differ ({ours['queries']} here, {theirs.get('queries')} there).")
    if others:
        notes.append(f"{others} queries of one id ask something else, or have other answers, there: left out.")
    return notes
