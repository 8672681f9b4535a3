"""How likely a shopper looks at all at a place in the ranking, learned from clicks.

The position-based model says that a hit is clicked if it is looked at and attracts: P(click) = θ(position) ·
γ(query, item). Both are found by expectation maximisation (Chuklin, Markov & de Rijke, "Click Models for Web Search",
2015, §4.2; Wang et al., "Position Bias Estimation for Unbiased Learning to Rank in Personal Search", WSDM 2018).

A log in which every item always stands at one place cannot tell the two apart, nor can a small one; then θ stays near
1 / (position + 1), where it begins, the usual guess (Joachims, Swaminathan & Schnabel, "Unbiased Learning-to-Rank with
Biased Feedback", arXiv 1608.04468). Stock, filters and a new model move items, and that is what it learns from.
"""

import numpy as np

POSITIONS = 100  # places further down count as the last of these
ROUNDS = 100
# Pseudo-counts: each pair starts with 5 virtual examinations at the mean attraction; each position with 100 at
# θ = 1 / (position + 1).
_PAIR_EXAMINATIONS = 5.0
_POSITION_EXAMINATIONS = 100.0


def estimate(
    pairs: np.ndarray, positions: np.ndarray, shown: np.ndarray, clicks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Examination θ by position `(POSITIONS,)`, 1 at its highest, and attraction γ by pair `(P,)`.

    Args:
        pairs: which query and item each row counts, `(N,)` integers below P.
        positions: where they were shown, `(N,)`, counted from 0.
        shown: how often, `(N,)`.
        clicks: how often they were clicked there, `(N,)`.
    """
    places = np.minimum(positions, POSITIONS - 1)
    count = int(pairs.max()) + 1 if len(pairs) else 0
    guess = 1.0 / np.arange(1, POSITIONS + 1)
    theta = guess
    gamma = np.full(count, clicks.sum() / max(1, shown.sum()))
    shown_of_pair = np.bincount(pairs, shown, count)
    total = np.bincount(places, shown, POSITIONS)
    seen = total > 0
    for _ in range(ROUNDS):
        looked, attracted = theta[places], gamma[pairs]
        neither = 1 - looked * attracted
        missed = shown - clicks
        # Of those that were not clicked: looked at though it did not attract; would have attracted, not looked at.
        looks = clicks + missed * looked * (1 - attracted) / neither
        attracts = clicks + missed * attracted * (1 - looked) / neither
        theta = (np.bincount(places, looks, POSITIONS) + _POSITION_EXAMINATIONS * guess) / (
            total + _POSITION_EXAMINATIONS
        )
        usual = attracts.sum() / max(1, shown.sum())
        gamma = (np.bincount(pairs, attracts, count) + _PAIR_EXAMINATIONS * usual) / (
            shown_of_pair + _PAIR_EXAMINATIONS
        )
        theta = np.clip(theta, 1e-4, 1 - 1e-4)
    highest = theta[seen].max() if seen.any() else 1.0
    return theta / highest, np.minimum(1.0, gamma * highest)
