import numpy as np
import pytest
import torch

from retriever.index import picture_query
from retriever.index.fusion import CODE_WEIGHT, LEXICAL_WEIGHT
from retriever.scoring import maxsim


def _unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    drawn = rng.normal(size=shape)
    return (drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)).astype(np.float32)


def maxsim_sum(queries: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """`Σ_m max_k ⟨q_m, t_k⟩` for one query of several rows `(M, D)` and item tokens `(N, Q, D)` → `(N,)`.

    ColBERT's late interaction, in which a row's length is its weight: what an index must find for such a query.
    """
    return maxsim(queries, items).sum(dim=0)


def test_picture_and_words_share_the_score() -> None:
    rng = np.random.default_rng(0)
    picture, words, items = _unit(rng, 4, 8), _unit(rng, 8), _unit(rng, 5, 4, 8)

    def score(vectors: np.ndarray) -> np.ndarray:
        assert vectors.dtype == np.float32  # what an index takes
        return maxsim_sum(torch.from_numpy(vectors), torch.from_numpy(items)).numpy()

    alike, said = score(picture_query.query_vectors(picture)), score(words[None])
    assert score(picture_query.query_vectors(picture, words, 0.3)) == pytest.approx(0.7 * alike + 0.3 * said, abs=1e-6)
    assert score(picture_query.query_vectors(picture, words, 1)) == pytest.approx(said, abs=1e-6)
    itself = maxsim_sum(torch.from_numpy(picture_query.query_vectors(picture)), torch.from_numpy(picture[None]))
    assert itself.item() == pytest.approx(1)


def test_words_in_common_count_less_than_alone_but_for_article_numbers() -> None:
    assert picture_query.lexical_weight("") == 0
    assert 0 < picture_query.lexical_weight("in red", 1) < LEXICAL_WEIGHT
    assert picture_query.lexical_weight("in red", 0.5) == pytest.approx(picture_query.lexical_weight("in red", 1) / 2)
    assert picture_query.lexical_weight("AB-1234", 1) == CODE_WEIGHT


@pytest.mark.parametrize(
    "said",
    [
        "this, but in red",
        "This but in red",
        "the same, only in red",
        "same in red",
        "like this, just in red",
        "this one in red",
        "in red",
    ],
)
def test_the_picture_says_what_this_is(said: str) -> None:
    assert picture_query.change(said) == "in red"


@pytest.mark.parametrize("said", ["", "this is it", "this", "same but", "same day", "Only This", "sameness in red"])
def test_a_text_of_its_own_stays_as_it_is(said: str) -> None:
    assert picture_query.change(said) == said
