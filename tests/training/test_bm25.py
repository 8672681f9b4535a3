"""BM25 as it is used here: it is the index's, and so is its fusion with semantic scores."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from retriever.index import IndexedItem, ItemIndex, open_index
from training.bm25 import BM25, hybrid

TEXTS = ["Red cotton shirts for men", "Blue denim shirt", "White coffee mug, size L", "", "V neck knitted jumper"]


def test_words_are_matched_by_their_stems_and_rare_words_count_more() -> None:
    scores, _ = BM25(TEXTS).scores(["shirt", "red shirt", "V neck"])
    assert scores.shape == (3, 5)
    assert (scores[0] > 0).tolist() == [True, True, False, False, False]
    assert scores[1].argmax() == 0
    assert scores[2].argmax() == 4


def test_scripts_without_spaces_are_cut_as_the_index_cuts_them() -> None:
    scores, _ = BM25(["红色连衣裙 2024", "蓝色衬衫", "แก้วกาแฟ"]).scores(["连衣裙", "衬衫", "กาแฟ"])
    assert scores.argmax(axis=1).tolist() == [0, 1, 2]
    assert ((scores > 0) == np.eye(3, dtype=bool)).all()


def test_scores_are_lucenes_bm25_around_32_words() -> None:
    """Worked by hand: idf · tf · (k1 + 1) / (tf + k1 · (1 - b + b · length / 32)), k1 = 1.2, b = 0.75."""
    (scores,), _ = BM25(["mug mug tea", "tea", "plate"]).scores(["mug"])
    idf = np.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    length = 1.2 * (1 - 0.75 + 0.75 * 3 / 32)
    assert scores[0] == pytest.approx(idf * 2 * 2.2 / (2 + length), rel=1e-5)
    assert scores[1:].tolist() == [0.0, 0.0]


def test_scores_are_those_of_the_index(tmp_path: Path) -> None:
    texts = [*filter(None, TEXTS), "红色连衣裙 2024", "Blue shirt, a shirt of denim, 16GB", "Shoe FB127A by Nike"]
    queries = ["shirt", "blue denim shirt", "men's V neck", "连衣裙", "16gb shirts", "FB127A", "nike shoe"]

    async def found(index: ItemIndex) -> list[dict[int, float]]:
        vector = np.ones((1, 1), dtype=np.float32)
        await index.upsert([IndexedItem(str(n), vector, text, {}) for n, text in enumerate(texts)])
        pages = [await index.search(None, query, limit=len(texts)) for query in queries]
        return [{int(hit.id): hit.score for hit in page.hits} for page in pages]

    async def asked() -> list[dict[int, float]]:
        index = await open_index(data_dir=tmp_path, dim=1, model_id="none")
        try:
            return await found(index)
        finally:
            await index.close()

    bm25 = BM25(texts)
    nothing = np.zeros((len(queries), len(texts)), dtype=np.float32)
    exact = hybrid(nothing, *bm25.scores(queries), queries)
    for scores, hits in zip(exact, asyncio.run(asked()), strict=True):
        assert hits == pytest.approx({n: score for n, score in enumerate(scores) if score}, rel=1e-4)


@pytest.mark.parametrize("query", ["zebra", "", "the of and", "!?"])
def test_a_query_that_shares_no_word_scores_zero_everywhere(query: str) -> None:
    assert not BM25(TEXTS).scores([query])[0].any()


def test_texts_without_a_word_can_be_indexed() -> None:
    assert not BM25(["", "  "]).scores(["mug"])[0].any()
    with pytest.raises(ValueError, match="at least one text"):
        BM25([])


def test_hybrid_adds_what_a_text_holds_of_a_query() -> None:
    semantic = np.array([[0.5, 0.4, 0.1], [0.5, 0.4, 0.1]], dtype=np.float32)
    lexical = np.array([[0.0, 8.0, 4.0], [0.0, 0.0, 0.0]], dtype=np.float32)
    ideal, queries = np.array([10.0, 10.0], dtype=np.float32), ["red wool shirt", "zebra"]
    fused = hybrid(semantic, lexical, ideal, queries)
    np.testing.assert_allclose(fused[0], [0.5, 0.4 + 0.4 * 0.8**4, 0.1 + 0.4 * 0.4**4], rtol=1e-5)
    np.testing.assert_allclose(fused[1], semantic[1])
    by_code = hybrid(semantic, lexical, ideal, ["424522-100", "zebra"])
    np.testing.assert_allclose(by_code[0], [0.5, 1.4, 0.1 + 0.5**4], rtol=1e-5)


def test_ideal_is_the_score_of_a_short_text_with_every_word() -> None:
    texts = ["red mug", "blue mug with a long description of what it is made of and how", "lamp"]
    bm25 = BM25(texts)
    scores, ideal = bm25.scores(["red mug", "red mug mug", "zebra", "mug"])
    assert scores[0].max() >= ideal[0] > scores[0, 1]
    assert ideal[1] == ideal[0]
    assert ideal[2] > ideal[3], "a word that no text holds says most"
