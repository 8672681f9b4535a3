"""Metrics against examples worked by hand, and the bootstrap against what statistics says of it."""

import numpy as np
import pytest

from training import metrics


def test_ranks_of_positives_by_hand() -> None:
    scores = np.array([[0.9, 0.1, 0.5, 0.7], [0.2, 0.4, 0.3, 0.1]])
    ranks = metrics.positive_ranks(scores, [[2, 1], [3]])
    assert [own.tolist() for own in ranks] == [[3, 4], [4]]


def test_a_positive_that_is_named_twice_counts_once() -> None:
    assert [own.tolist() for own in metrics.positive_ranks(np.array([[0.9, 0.1]]), [[0, 0]])] == [[1]]


def test_equal_scores_rank_in_column_order() -> None:
    scores = np.array([[0.5, 0.5, 0.9, 0.5]])
    assert [metrics.positive_ranks(scores, [[column]])[0].tolist() for column in range(4)] == [[2], [3], [1], [4]]
    # Tied positives get ranks of their own, so a query with two positives on top has the ideal nDCG.
    ranks = metrics.positive_ranks(np.zeros((1, 4)), [[1, 0]])
    assert ranks[0].tolist() == [1, 2]
    assert metrics.query_metrics(ranks)["ndcg@10"][0] == pytest.approx(1.0)


def test_an_item_that_cannot_be_retrieved_counts_as_not_found() -> None:
    ranks = metrics.positive_ranks(np.array([[-np.inf, -0.9, 0.2]]), [[0, 2]])
    assert ranks[0].tolist() == [1, metrics.NOT_FOUND]
    assert all(values[0] < 1e-6 for values in metrics.query_metrics([ranks[0][1:]]).values())


def test_a_query_counts_if_any_of_its_positives_is_among_the_first_k() -> None:
    ranks = [np.array([1, 900]), np.array([5, 6]), np.array([6]), np.array([10]), np.array([11])]
    result = {name: values.mean() for name, values in metrics.query_metrics(ranks).items()}
    assert result["hit@1"] == pytest.approx(1 / 5)
    assert result["hit@5"] == pytest.approx(2 / 5)
    assert result["hit@10"] == pytest.approx(4 / 5)
    assert result["mean"] == pytest.approx((1 / 5 + 2 / 5 + 4 / 5) / 3)
    assert result["mrr"] == pytest.approx((1 + 1 / 5 + 1 / 6 + 1 / 10 + 1 / 11) / 5)


def test_ndcg_by_hand() -> None:
    # Positives at 1, 3 and 12: gains 1 and 1/log2(4); ideal 1 + 1/log2(3) + 1/log2(4).
    value = metrics.query_metrics([np.array([1, 3, 12])])["ndcg@10"][0]
    assert value == pytest.approx((1 + 1 / 2) / (1 + 1 / np.log2(3) + 1 / 2))
    # More positives than places: the ideal is ten of them on top.
    assert metrics.query_metrics([np.arange(1, 20)])["ndcg@10"][0] == pytest.approx(1.0)
    assert metrics.query_metrics([np.array([11])])["ndcg@10"][0] == 0.0


@pytest.mark.parametrize(
    ("scores", "positives", "message"),
    [
        ([[np.nan, 1.0]], [[1]], "NaN"),
        ([[0.0, 1.0]], [[]], "at least one positive"),
        ([[0.0, 1.0]], [[2]], "column 2 of a gallery of 2"),
        ([[0.0, 1.0]], [[0], [1]], "1 rows of scores for 2 queries"),
    ],
)
def test_scores_that_no_rank_can_be_given_are_refused(
    scores: list[list[float]], positives: list[list[int]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.positive_ranks(np.array(scores), positives)


def test_the_bootstrap_interval_is_that_of_the_binomial() -> None:
    hits = np.repeat([1.0, 0.0], [120, 280])  # 30 % of 400: standard error 2.29 points
    low, high = metrics.bootstrap_intervals({"hit@1": hits})["hit@1"]
    error = np.sqrt(0.3 * 0.7 / 400)
    assert low == pytest.approx(0.3 - 1.96 * error, abs=0.006)
    assert high == pytest.approx(0.3 + 1.96 * error, abs=0.006)
    assert metrics.bootstrap_intervals({"hit@1": hits})["hit@1"] == (low, high)  # the same again


def test_a_metric_that_never_varies_has_an_interval_of_one_point() -> None:
    assert metrics.bootstrap_intervals({"mrr": np.full(30, 0.25)})["mrr"] == pytest.approx((0.25, 0.25))


def test_pairing_sees_a_difference_that_the_two_intervals_hide() -> None:
    hard = np.random.default_rng(1).random(300)
    theirs, ours = {"mrr": hard * 0.9}, {"mrr": hard * 0.9 + 0.02}
    assert metrics.bootstrap_intervals(theirs)["mrr"][1] > metrics.bootstrap_intervals(ours)["mrr"][0]  # they overlap
    change = metrics.paired_difference(ours, theirs)["mrr"]
    assert change.difference == pytest.approx(0.02)
    assert change.significant


def test_a_run_may_be_significantly_worse() -> None:
    assert metrics.Difference(-0.2, -0.3, -0.1).significant
    assert not metrics.Difference(-0.2, -0.3, 0.1).significant


def test_runs_that_trade_queries_do_not_differ() -> None:
    ours = {"hit@1": np.tile([1.0, 0.0], 50), "only ours": np.zeros(100)}
    theirs = {"hit@1": np.tile([0.0, 1.0], 50)}
    changes = metrics.paired_difference(ours, theirs)
    assert changes.keys() == {"hit@1"}
    assert not changes["hit@1"].significant
    assert changes["hit@1"].low < 0 < changes["hit@1"].high


def test_runs_over_different_queries_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="3 queries in one run and 4 in the other"):
        metrics.paired_difference({"mrr": np.zeros(3)}, {"mrr": np.zeros(4)})
