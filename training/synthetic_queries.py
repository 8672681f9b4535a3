"""Queries that nobody typed, for teachers to answer: `python -m training.synthetic_queries --train captions.json …`.

A small model learns the few queries of a training file by heart. Here are more of them: words of a text, a query that
lost some words, halves of two queries. The items whose texts the teachers (`training.teacher`) find most similar count
as their answers, and those that follow with a margin (`training.mine`) as hard negatives, so that the file is trained
on as any other:

    python -m training.synthetic_queries --train captions.json --teacher runs/teacher --output questions.json
    python -m training.finetune --train questions.json --negatives questions.negatives.jsonl --teacher runs/teacher …

Source: a teacher that labels generated queries, as in GPL (Wang et al., arXiv 2112.07577), with words drawn from the
texts in the place of a query generator.
"""

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from training.arguments import count, make_room
from training.data import Source, normalise
from training.mine import negatives
from training.teacher import Teacher, TextTeacher, open_teacher

OF_TEXTS = 0.55  # share of queries that are made of a text's words, the others of queries' words
LENGTHS = (1, 2, 2, 3, 3, 4, 5)  # words of a text that become a query; one is drawn
ANSWERS = 3  # items that count as right for a query
NEGATIVES = 60  # kept for a query, of the items after those
MOST_DRAWS = 50  # for each query: few words make the same ones over and over
CHUNK = 512  # queries that are answered at once
_WORD = re.compile(r"\w+(?:['/.-]\w+)*")
_EMPTY = set("a an and as at by featuring for from in is it its of on or the to with".split())  # noqa: SIM905


def questions(queries: Sequence[str], texts: Sequence[str], rng: np.random.Generator) -> Iterator[str]:
    """Made-up queries without end; the same one may come twice.

    Raises:
        ValueError: no query has a word.
    """
    asked = [words for query in queries if (words := query.replace(",", " ").split())]
    if not asked:
        raise ValueError("no query has a word")
    vocabulary = [word for query in queries for word in query.split()]
    contents = [[word for word in _WORD.findall(text) if word.lower() not in _EMPTY] for text in texts]
    while True:
        if rng.random() < OF_TEXTS:
            made = _of_text(contents[rng.integers(len(contents))], rng)
        else:
            one, other = (asked[i] for i in rng.integers(len(asked), size=2))
            made = _of_queries(one, other, vocabulary, rng)
        if made:
            yield " ".join(made)


def _of_text(words: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Neighbouring words, or words from anywhere in their order."""
    count = int(rng.choice(LENGTHS))
    if len(words) < count:
        return []
    if rng.random() < 0.5:
        first = int(rng.integers(len(words) - count + 1))
        return list(words[first : first + count])
    return [words[i] for i in sorted(rng.choice(len(words), count, replace=False))]


def _of_queries(
    one: Sequence[str], other: Sequence[str], vocabulary: Sequence[str], rng: np.random.Generator
) -> list[str]:
    """A query without some of its words, its first half with the second half of another, or with one strange word."""
    dice = rng.integers(3)
    if dice == 0 and len(one) > 1:
        kept = rng.choice(len(one), int(rng.integers(1, len(one))), replace=False)
        return [one[i] for i in sorted(kept)]
    if dice == 1:
        return [*one[: max(1, len(one) // 2)], *other[len(other) // 2 :]]
    changed = list(one)
    changed[int(rng.integers(len(changed)))] = vocabulary[int(rng.integers(len(vocabulary)))]
    return changed


def draw(source: Source, count: int, seed: int) -> list[str]:
    """`count` made-up queries of a source, no two alike and none that it has.

    Raises:
        ValueError: an item has no text, or the source's words do not make so many.
    """
    texts = source.first_texts()
    if not all(texts):
        raise ValueError(f"{source.path}: every item needs a text, for teachers read nothing else")
    queries = list(dict.fromkeys(pair.query for pairs in source.pairs for pair in pairs))
    known = {normalise(query) for query in queries}
    drawn: list[str] = []
    for query in islice(questions(queries, texts, np.random.default_rng(seed)), MOST_DRAWS * count):
        if _WORD.search(query) and normalise(query) not in known:
            known.add(normalise(query))
            drawn.append(query)
        if len(drawn) == count:
            return drawn
    raise ValueError(f"{source.path}: its words made {len(drawn):,} queries; ask for fewer with --count")


@torch.inference_mode()
def answers(
    teachers: Sequence[Teacher], queries: Sequence[str], texts: Sequence[str]
) -> Iterator[tuple[list[int], list[int]]]:
    """For each query the texts that the teachers find most similar, the best first, and its hard negatives.

    Many texts may answer a short query as well as the best three: what is nearly as similar is neither. In the runs
    that are on record it still was a negative.
    """
    for start in tqdm(range(0, len(queries), CHUNK), desc="answers", unit=f"{CHUNK} queries"):
        part = queries[start : start + CHUNK]
        similar = torch.stack([teacher.similar(part, texts) for teacher in teachers]).mean(dim=0)  # (B, N)
        for row in similar:
            best = row.topk(min(ANSWERS, len(texts))).indices.tolist()
            yield best, negatives(row, best, NEGATIVES)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.synthetic_queries",
        description="Make up queries and let teachers answer them, for training.finetune --teacher.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--train", type=Path, required=True, metavar="FILE", help="a training file with texts")
    parser.add_argument("--teacher", nargs="+", required=True, help="as for training.finetune")
    parser.add_argument("--output", type=Path, required=True, metavar="X.json", help="X.negatives.jsonl is written too")
    parser.add_argument("--count", type=count, default=30_000, help="queries")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        _run(options)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def _run(options: argparse.Namespace) -> None:
    make_room(options.output, "--output")
    source = Source(options.train)
    teachers = [open_teacher(name, "cuda" if torch.cuda.is_available() else "cpu") for name in options.teacher]
    queries = draw(source, options.count, options.seed)
    texts = source.first_texts()
    found = list(answers(teachers, queries, texts))
    pairs = [
        {"query_id": number, "query_text": query, "image_id": source.ids[item], "text_input": [texts[item]]}
        for number, (query, (best, _)) in enumerate(zip(queries, found, strict=True))
        for item in best
    ]
    right = {item for best, _ in found for item in best}  # the file knows of no other
    rows = [
        {"query_text": query, "image_ids": [source.ids[item] for item in worse if item in right]}
        for query, (_, worse) in zip(queries, found, strict=True)
    ]
    options.output.write_text(json.dumps(pairs, ensure_ascii=False))
    beside = options.output.with_suffix(".negatives.jsonl")
    beside.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    for name, teacher in zip(options.teacher, teachers, strict=True):
        if isinstance(teacher, TextTeacher) and Path(name).is_dir():
            teacher.save(Path(name))
    print(f"{options.output}: {len(queries):,} queries; {beside}")


if __name__ == "__main__":
    main()
