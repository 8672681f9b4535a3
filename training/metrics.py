"""Retrieval metrics from scores, with bootstrap intervals. NumPy only: what is measured can be read here in full.

hit@k is the seed's and MUGE's recall@k: a query counts if *any* of its positives is among the first k of the whole
gallery, and "mean" is the mean of hit@1, hit@5 and hit@10 (https://github.com/OFA-Sys/Chinese-CLIP,
`cn_clip/eval/evaluation.py`).

Ranks start at 1. Items with equal scores rank in the order of their columns, the same in every run. A caller that
wants ties to favour no one (items with the same text tie under every text-only score) puts the columns into an order
that has nothing to do with relevance; `training.evaluate` does.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

Ranks = dict[str, list[npt.NDArray[np.int64]]]  # mode → ranks of each query's positives, best first

NOT_FOUND = 1_000_000_000  # the rank of an item that cannot be retrieved: behind every k, however small the gallery

METRICS = ("hit@1", "hit@5", "hit@10", "mean", "mrr", "ndcg@10")
SHOWN = ("hit@1", "hit@5", "hit@10", "mean")  # in short tables

_RESAMPLES = 2000  # of a bootstrap
_RESAMPLES_AT_ONCE = 100  # bounds the memory of a bootstrap over many queries


def positive_ranks(scores: Floats, positives: Sequence[Sequence[int]]) -> list[npt.NDArray[np.int64]]:
    """Ranks of each query's positives over the whole gallery, best first.

    Args:
        scores: `(queries, gallery)`, higher is better. -inf is an item that cannot be retrieved: NOT_FOUND.
        positives: for each query the columns of the items that answer it.

    Raises:
        ValueError: a query has no positives, a column out of range, or a score is NaN (which no rank can be given).
    """
    if len(scores) != len(positives):
        raise ValueError(f"{len(scores)} rows of scores for {len(positives)} queries")
    if np.isnan(scores).any():
        raise ValueError("scores hold NaN: the model or its weights are broken")
    ranks = []
    for row, columns in zip(scores, positives, strict=True):
        if not columns:
            raise ValueError("every query needs at least one positive")
        if min(columns) < 0 or max(columns) >= len(row):
            raise ValueError(f"a positive is in column {max(columns)} of a gallery of {len(row)}")
        own = [
            1 + np.count_nonzero(row > row[c]) + np.count_nonzero(row[:c] == row[c]) if row[c] > -np.inf else NOT_FOUND
            for c in set(columns)
        ]
        ranks.append(np.sort(np.array(own, dtype=np.int64)))
    return ranks


def first_rank_metrics(first: npt.NDArray[np.int64]) -> dict[str, Floats]:
    """What follows from the rank of each query's first positive alone: hit@1, hit@5, hit@10, their mean, and MRR.

    One value in [0, 1] for each query, `(queries,)`: the figure of a run is their mean.
    """
    hits = {f"hit@{k}": (first <= k).astype(np.float64) for k in (1, 5, 10)}
    return {**hits, "mean": np.mean(list(hits.values()), axis=0), "mrr": 1.0 / first}


def query_metrics(ranks: Sequence[npt.NDArray[np.int64]]) -> dict[str, Floats]:
    """Every metric of METRICS from the ranks that `positive_ranks` gives, `(queries,)` each, in [0, 1].

    nDCG@10 has binary gains and discounts by log2(1 + rank); the ideal has as many positives on top as there are,
    at most ten.
    """
    first = np.array([own[0] for own in ranks], dtype=np.int64)
    ndcg = [_dcg(own[own <= 10]) / _dcg(np.arange(1, min(len(own), 10) + 1)) for own in ranks]
    return {**first_rank_metrics(first), "ndcg@10": np.array(ndcg)}


def _dcg(ranks: npt.NDArray[np.int64]) -> float:
    return float(np.sum(1.0 / np.log2(1.0 + ranks)))


def bootstrap_intervals(metrics: Mapping[str, Floats]) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap over queries: the 95 % interval of each metric's mean, the same in every run.

    Args:
        metrics: values by query, `(queries,)` each, as `query_metrics` gives them.
    """
    names, values = list(metrics), np.stack(list(metrics.values()), axis=1)  # (queries, metrics)
    means = np.concatenate([weights @ values for weights in _resample_weights(len(values))])
    low, high = np.quantile(means, [0.025, 0.975], axis=0)  # (metrics,) each
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}


@dataclass(frozen=True)
class Difference:
    """How much better a run is than another on the same queries, in the metric's own unit."""

    difference: float
    low: float
    high: float

    @property
    def significant(self) -> bool:
        """The interval leaves out zero."""
        return self.low > 0 or self.high < 0


def paired_difference(ours: Mapping[str, Floats], theirs: Mapping[str, Floats]) -> dict[str, Difference]:
    """Paired bootstrap of `ours - theirs`, for the metrics that both have.

    The same queries are drawn for both runs, so that what makes a query hard cancels out: two runs whose own
    intervals overlap may well differ significantly.

    Raises:
        ValueError: the runs do not have the same number of queries.
    """
    changes = {}
    for name in ours.keys() & theirs.keys():
        if ours[name].shape != theirs[name].shape:
            raise ValueError(f"{len(ours[name])} queries in one run and {len(theirs[name])} in the other")
        changes[name] = ours[name] - theirs[name]
    intervals = bootstrap_intervals(changes)
    return {name: Difference(float(change.mean()), *intervals[name]) for name, change in changes.items()}


def _resample_weights(count: int) -> Iterator[Floats]:
    """How often each query is drawn, as a share: `(resamples at once, queries)`, rows summing to one."""
    rng = np.random.default_rng(0)
    for _ in range(0, _RESAMPLES, _RESAMPLES_AT_ONCE):
        yield rng.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES_AT_ONCE) / count
