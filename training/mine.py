"""Mine hard negatives of a training file: `python -m training.mine --train pairs.json --output negatives.jsonl`.

For each query, the items of the same file that a model ranks high although they do not answer it, for another round of
training with `training.finetune --negatives`. Shoppers name a few of the items that answer a query, not all, so what
ranks highest is often an answer that nobody named: an item is left out if it scores nearly as well as the items that
are known to answer (TopK-PercPos of Moreira et al., arXiv 2407.15831; the idea is RocketQA's, Qu et al., arXiv
2010.08191).
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

import retriever
from retriever import Retriever
from retriever.files import write_whole
from retriever.scoring import maxsim, queries_at_once
from training.arguments import make_room, paths
from training.collate import Collator
from training.data import Source, normalise
from training.encode import encode_items, encode_queries
from training.features import FeatureCache

COUNT = 16  # negatives kept for a query
MARGIN = 0.95  # of the mean score of the known answers: what scores higher may well be an answer too


def negatives(scores: Tensor, answers: Sequence[int], count: int = COUNT, *, margin: float = MARGIN) -> list[int]:
    """Up to `count` columns of one query's scores `(N,)` that are hard negatives, the hardest first.

    None where the known answers score 0 or less on average: no margin below that.
    """
    limit = margin * scores[list(answers)].mean()
    allowed = (scores < limit) & (limit > 0)
    allowed[list(answers)] = False
    best = scores.masked_fill(~allowed, -torch.inf).topk(min(count, len(scores)))
    return [int(column) for column, score in zip(best.indices, best.values, strict=True) if score > -torch.inf]


@torch.inference_mode()
def mine(model: Retriever, source: Source, features: Path, margin: float = MARGIN) -> Iterator[tuple[str, list[int]]]:
    """Each query of the source that has negatives, as it was typed, with them."""
    cache = FeatureCache(features, model.model.vision, model.processor)
    cache.add([picture for picture in source.pictures if picture])
    collator = Collator(model.processor, cache)
    items = encode_items(model.model, collator, source.first_texts(), source.pictures, progress=True)  # (N, Q, D)
    asked = list(source.typed.values())  # "men's": to the model "men s" is another query
    size = queries_at_once(items)
    for start in tqdm(range(0, len(asked), size), desc="queries", unit="batch"):
        part = asked[start : start + size]
        scores = maxsim(encode_queries(model.model, collator, part), items).cpu()  # (B, N)
        for query, row in zip(part, scores, strict=True):
            if found := negatives(row, sorted(source.items_of[normalise(query)]), margin=margin):
                yield query, found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.mine", description="Mine hard negatives.")
    parser.add_argument("--model", default="compact", help="shipped name, checkpoint folder or hub name (compact)")
    parser.add_argument("--train", required=True, metavar="FILE[:PICTURES]", help="the training file, as for finetune")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="JSON lines of negatives to write")
    parser.add_argument("--features", type=Path, default=Path("runs/features"), help="where picture features are kept")
    left_out = (
        f"share of the known answers' mean score from which on an item may be an answer too; inf: none ({MARGIN})"
    )
    parser.add_argument("--margin", type=float, default=MARGIN, help=left_out)
    options = parser.parse_args(arguments)
    try:
        if not options.margin > 0:
            raise ValueError(f"--margin is a share of a score, above 0, not {options.margin}")
        make_room(options.output, "--output")
        source = Source(*paths(options.train))
        model = retriever.load(options.model, device="cuda" if torch.cuda.is_available() else "cpu")
        found = dict(mine(model, source, options.features, options.margin))
        rows = [{"query_text": query, "image_ids": [source.ids[item] for item in own]} for query, own in found.items()]
        write_whole(options.output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    print(f"{options.output}: negatives of {len(rows):,} of {len(source.items_of):,} queries")


if __name__ == "__main__":
    main()
