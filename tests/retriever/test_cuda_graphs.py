"""Rounding and padding, with a call that runs again in the place of a graph: `benchmarks.gpu` checks those on a GPU."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from retriever import ItemInput, Processor, Retriever, checkpoint, cuda_graphs
from retriever.arrays import Floats
from retriever.cuda_graphs import GraphModel, padded_rows, padded_text
from tests.conftest import TINY

QUERIES = ["red mug", "a", "the blue shirt and a lamp that is red", "shoe", "", "lamp lamp lamp"]


class Shapes:
    """Counts what is captured."""

    def __init__(self) -> None:
        self.captured = 0

    def __call__(self, run: Callable[[], None]) -> Callable[[], None]:
        self.captured += 1
        run()
        return run


@pytest.fixture
def shapes() -> Shapes:
    return Shapes()


@pytest.fixture
def ours(tiny_checkpoint: Path, shapes: Shapes) -> Retriever:
    model, tokenizer = checkpoint.load_folder(tiny_checkpoint)
    return Retriever(GraphModel(model, shapes), Processor(TINY, tokenizer), "", "graphs")


def picture(seed: int) -> Floats:
    return np.random.default_rng(seed).standard_normal((3, TINY.image_size, TINY.image_size), dtype=np.float32)


def items() -> list[ItemInput]:
    """Of each kind a number that is no power of two."""
    both = [ItemInput(picture(seed), text) for seed, text in enumerate(["red mug", "a", "the blue shirt and a lamp"])]
    pictures = [ItemInput(picture(seed)) for seed in range(10, 15)]
    return [*both, *pictures, *(ItemInput(text=text) for text in ("lamp", "a blue shoe", "mug"))]


def same(found: Floats, wanted: Floats) -> None:
    np.testing.assert_allclose(found, wanted, atol=2e-5, rtol=0)


def test_padding_changes_no_vector(ours: Retriever, tiny_retriever: Retriever) -> None:
    same(ours.encode_queries(QUERIES), tiny_retriever.encode_queries(QUERIES))
    same(ours.encode_items(items()), tiny_retriever.encode_items(items()))
    queries = ["red mug"] * len(items())
    same(ours.match(queries, items()), tiny_retriever.match(queries, items()))
    assert ours.encode_queries([]).shape == (0, TINY.embed_dim)


def test_a_batch_beyond_the_largest_graph_is_cut(
    ours: Retriever, tiny_retriever: Retriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_graphs, "MOST_ROWS", 2)
    same(ours.encode_queries(QUERIES), tiny_retriever.encode_queries(QUERIES))
    same(ours.encode_items(items()), tiny_retriever.encode_items(items()))


def test_nothing_of_the_last_call_is_left(ours: Retriever, tiny_retriever: Retriever) -> None:
    """The same graph for more, longer and other rows, then for fewer and shorter ones."""
    for count in (8, 5, 7):
        given = [ItemInput(picture(100 + count * row), "red mug"[: 3 + row]) for row in range(count)]
        same(ours.encode_items(given), tiny_retriever.encode_items(given))
    for queries in (["red red red red"] * 4, ["mug", "a", "lamp"]):
        same(ours.encode_queries(queries), tiny_retriever.encode_queries(queries))


def test_features_outlive_the_next_call(ours: Retriever) -> None:
    first = ours.backend.encode_pictures(picture(1)[None])
    before = first.tokens.clone()
    ours.backend.encode_pictures(picture(2)[None])
    same(first.tokens.numpy(), before.numpy())


def test_shapes_are_rounded_so_that_few_are_captured(ours: Retriever, shapes: Shapes) -> None:
    for queries in (["mug"] * 5, ["red mug"] * 8, ["a"] * 6):
        ours.encode_queries(queries)
    assert shapes.captured == 1
    for text in ("mug", "the blue shirt and a lamp", ""):
        ours.encode_items([ItemInput(picture(1), text)])
    assert shapes.captured == 3  # one of pictures, and one of items
    assert [padded_rows(count) for count in (0, 1, 2, 3, 8, 9)] == [1, 1, 2, 4, 8, 16]
    ones = np.ones((3, 17), dtype=np.int64)
    assert padded_text(ones, ones, 8, 64).shape == (2, 4, 24)
    assert padded_text(ones, ones, 32, 20).shape == (2, 4, 20)
    assert padded_text(ones, ones, 8, 64)[:, 3].sum(axis=1).tolist() == [0, 1], "a row of padding attends to something"


def test_no_query_waits_for_a_capture(ours: Retriever, shapes: Shapes) -> None:
    model = ours.backend
    assert isinstance(model, GraphModel)
    model.capture_queries()
    captured = shapes.captured
    for queries in (["mug"], ["a much longer query that has to be cut"] * 40, QUERIES * 30):
        ours.encode_queries(queries)
    assert shapes.captured == captured > 0


def test_many_queries_at_once_need_no_graph(
    ours: Retriever, tiny_retriever: Retriever, shapes: Shapes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_graphs, "MANY_QUERIES", len(QUERIES))
    same(ours.encode_queries(QUERIES), tiny_retriever.encode_queries(QUERIES))
    assert shapes.captured == 0


def test_the_graph_unused_for_longest_goes(ours: Retriever, shapes: Shapes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs, "MOST_GRAPHS", 2)
    for count in (1, 2, 1, 4, 1):  # 2 goes when 4 comes
        ours.encode_queries(["mug"] * count)
    assert shapes.captured == 3
    ours.encode_queries(["mug"] * 2)
    assert shapes.captured == 4


def test_threads_take_turns(ours: Retriever, tiny_retriever: Retriever) -> None:
    texts = [[f"{word} mug"] * 3 for word in ("red", "blue", "the", "a")] * 10
    wanted = [tiny_retriever.encode_queries(queries) for queries in texts]
    with ThreadPoolExecutor(4) as pool:
        for found, expected in zip(pool.map(ours.encode_queries, texts), wanted, strict=True):
            same(found, expected)


def test_a_failed_capture_says_what_to_do(tiny_checkpoint: Path) -> None:
    def fail(run: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError("operation not permitted when stream is capturing")

    model = GraphModel(checkpoint.load_folder(tiny_checkpoint)[0], fail)
    words = np.ones((3, 5), dtype=np.int64)
    with pytest.raises(RuntimeError, match=r"query with inputs of \(2, 4, 8\).*not permitted.*inference='bf16'"):
        model.encode_query(words, words)
    with pytest.raises(ValueError, match="an item needs a picture or some text"):
        model.encode_item(None, None, None)
