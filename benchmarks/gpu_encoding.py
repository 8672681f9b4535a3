"""Encoding on a GPU: queries and items a second, by batch and way of running, against transformers' plain code."""

import io
import os
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import retriever
from benchmarks.catalogue import queries, texts
from benchmarks.gpu_measure import Gpu, Row, flops_of
from retriever import ItemInput, Retriever, RetrieverConfig
from retriever.arrays import Floats, Ids
from retriever.blip2_weights import to_huggingface
from retriever.inference import Backend, Inference
from retriever.model import FusedRetriever
from retriever.torch_model import TorchModel, to_array

Calls = dict[str, Callable[[], Any]]

QUERY_LENGTH, TEXT_LENGTH = 8, 32  # word pieces, of BLIP-2's random inputs
MOST_BLIP2 = 128  # items of a billion weights at once; compact goes on
SIDE = 600  # pixels of a compressed picture


def compact(gpu: Gpu, model: str, ways: Sequence[Inference], pictures: int) -> dict[str, list[Row]]:
    """A checkpoint's queries and items (pixels ready, with text), and items from compressed pictures on."""
    loaded = load(gpu, model, ways)
    first = loaded[ways[0]]
    first.model.requires_grad_(False)  # else the counter of operations looks for a backward pass
    most = max(gpu.batches)
    rng = np.random.default_rng(0)
    pixels = rng.standard_normal((most, 3, first.config.image_size, first.config.image_size), dtype=np.float32)
    asked, titles = first.processor.queries(queries(most)), first.processor.texts(texts(most))
    flops_query, flops_item = _flops(TorchModel(first.model), pixels, asked, titles)

    query_rows, item_rows = [], []
    plain = _bert(gpu, first.config)
    for batch in gpu.batches:
        ids, mask = asked[0][:batch], asked[1][:batch]
        calls: Calls = {way: partial(one.backend.encode_query, ids, mask) for way, one in loaded.items()}
        calls |= {name: partial(call, ids, mask) for name, call in plain.items()}
        query_rows += _rows(gpu, "query", batch, calls, flops_query)
        given = pixels[:batch], titles[0][:batch], titles[1][:batch]
        calls = {way: partial(_encode, one.backend, *given) for way, one in loaded.items()}
        item_rows += _rows(gpu, "picture and text", batch, calls, flops_item)
    files = compressed(pictures)
    whole = [gpu.cell({"way": way}, partial(_from_files, one, files)) for way, one in loaded.items()]
    return {
        "compact: queries": query_rows,
        "compact: items": item_rows,
        "compact: the tower alone, in bfloat16, pixels on the device": _tower_layouts(gpu, model, pixels),
        f"compact: items from compressed pictures of {SIDE} × {SIDE} with titles, {os.cpu_count()} cores": whole,
    }


def blip2(gpu: Gpu, config: RetrieverConfig) -> dict[str, list[Row]]:
    """BLIP-2's shape with random weights, in bfloat16: ours and transformers' on equal weights and inputs."""
    from retriever.cuda_graphs import GraphModel  # and not where no graph is made

    started = perf_counter()
    ours, theirs = random_blip2(gpu, config)
    theirs.load_state_dict(to_huggingface(ours.state_dict()), strict=False)  # but its buffers
    for model in (ours, theirs):
        model.to(torch.bfloat16).eval().requires_grad_(False)
    gpu.synchronise()
    print(
        f"   {sum(p.numel() for p in ours.parameters()) / 1e6:.0f} M weights; built in {perf_counter() - started:.1f} s"
    )
    plain = Transformers(theirs)
    ways: dict[str, Backend] = {"bf16": TorchModel(ours)}
    if gpu.device.type == "cuda":
        ways["graphs"] = GraphModel(ours)

    batches = [batch for batch in gpu.batches if batch <= MOST_BLIP2]
    batches = sorted({*batches, 64} if max(batches) > 64 else batches)
    rng = np.random.default_rng(0)
    pixels = rng.standard_normal((max(batches), 3, config.image_size, config.image_size), dtype=np.float32)
    text = _words(rng, max(batches), TEXT_LENGTH, config)
    asked = _words(rng, max(gpu.batches), QUERY_LENGTH, config)
    backend = TorchModel(ours)
    flops_query, flops_fused = _flops(backend, pixels, asked, text)
    one = pixels[:1]
    flops_picture = flops_of(lambda: backend.encode_item(backend.encode_pictures(one), None, None))
    cosine = F.cosine_similarity(
        torch.from_numpy(_encode(backend, pixels[:4], None, None)),
        torch.from_numpy(plain.encode_pictures(pixels[:4])),
        -1,
    )

    rows: list[Row] = []
    for batch in batches:
        some, words = pixels[:batch], (text[0][:batch], text[1][:batch])
        calls: Calls = {"transformers": partial(plain.encode_pictures, some)}
        calls |= {way: partial(_encode, one, some, None, None) for way, one in ways.items()}
        rows += _rows(gpu, "picture", batch, calls, flops_picture)
        calls = {"transformers": partial(plain.match, some, *words)}
        calls |= {way: partial(_encode, one, some, *words) for way, one in ways.items()}
        rows += _rows(gpu, "picture and text", batch, calls, flops_fused)
    query_rows: list[Row] = []
    for batch in gpu.batches:
        words = asked[0][:batch], asked[1][:batch]
        calls = {"transformers": partial(plain.encode_query, *words)}
        calls |= {way: partial(one.encode_query, *words) for way, one in ways.items()}
        query_rows += _rows(gpu, "query", batch, calls, flops_query)
    same: Row = {"pictures' tokens, ours to transformers' in bfloat16: least cosine": cosine.min().item()}
    work: Row = {
        "their attention": theirs.config._attn_implementation,
        "GFLOP a query": flops_query / 1e9,
        "a picture": flops_picture / 1e9,
        "with text": flops_fused / 1e9,
    }
    return {"blip2: items": rows, "blip2: queries": query_rows, "blip2: work": [same | work]}


def load(gpu: Gpu, model: str, ways: Sequence[Inference]) -> dict[Inference, Retriever]:
    """A checkpoint as it runs in each way. One that cannot be run so is a failure, and left out."""
    loaded = {}
    for way in ways:
        started = perf_counter()
        try:
            loaded[way] = retriever.load(model, str(gpu.device), way)
        except RuntimeError as error:
            traceback.print_exc()
            gpu.failures.append(f"{way} could not be loaded: {error}")
            continue
        print(f"   {way} loaded in {perf_counter() - started:.1f} s", flush=True)
    return loaded


class Transformers:
    """`Blip2ForImageTextRetrieval`, step by step as its own forward goes: arrays in and out, SDPA as by default.

    It has no item of picture and text in one space. Its matching head reads both together, which is the same work.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.device = model.query_tokens.device

    @torch.inference_mode()
    def encode_query(self, input_ids: Ids, attention_mask: Ids) -> Floats:
        model, ids, mask = self.model, self._tensor(input_ids), self._tensor(attention_mask)
        states = model.qformer(
            query_embeds=model.embeddings(input_ids=ids), query_length=0, attention_mask=mask
        ).last_hidden_state
        return to_array(F.normalize(model.text_projection(states[:, 0]), dim=-1))

    @torch.inference_mode()
    def encode_pictures(self, images: Floats) -> Floats:
        model = self.model
        seen = model.vision_model(pixel_values=self._tensor(images)).last_hidden_state
        states = model.qformer(
            query_embeds=model.query_tokens.expand(len(images), -1, -1),
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:-1], dtype=torch.long, device=seen.device),
        ).last_hidden_state
        return to_array(F.normalize(model.vision_projection(states), dim=-1))

    @torch.inference_mode()
    def match(self, images: Floats, input_ids: Ids, attention_mask: Ids) -> Floats:
        scored = self.model(
            pixel_values=self._tensor(images),
            input_ids=self._tensor(input_ids),
            attention_mask=self._tensor(attention_mask),
            use_image_text_matching_head=True,
        )
        return to_array(scored.logits_per_image)

    def _tensor(self, array: Floats | Ids) -> Tensor:
        return torch.from_numpy(array).to(self.device)


def random_blip2(gpu: Gpu, config: RetrieverConfig) -> tuple[FusedRetriever, Any]:
    """Ours and transformers' model of one shape, built on the device in float32: on the CPU it takes minutes."""
    from transformers import Blip2Config, Blip2ForImageTextRetrieval

    torch.manual_seed(0)
    with gpu.device:
        ours = FusedRetriever(config)
        tower = ours.vision.backbone
        block = tower.blocks[0]
        theirs = Blip2ForImageTextRetrieval(
            Blip2Config(
                vision_config={
                    "hidden_size": config.vision_width,
                    "intermediate_size": block.mlp.fc1.out_features,
                    "num_hidden_layers": len(tower.blocks),
                    "num_attention_heads": block.attn.num_heads,
                    "image_size": config.image_size,
                    "patch_size": tower.patch_embed.patch_size[0],
                    "layer_norm_eps": 1e-6,
                },
                qformer_config={
                    "vocab_size": config.vocab_size,
                    "hidden_size": config.hidden_size,
                    "num_hidden_layers": config.num_layers,
                    "num_attention_heads": config.num_heads,
                    "intermediate_size": config.intermediate_size,
                    "max_position_embeddings": config.max_positions,
                    "encoder_hidden_size": config.vision_width,
                    "cross_attention_frequency": config.cross_attention_frequency,
                    "use_qformer_text_input": True,
                },
                num_query_tokens=config.num_query_tokens,
                image_text_hidden_size=config.embed_dim,
            )
        )
    return ours, theirs


def compressed(count: int) -> list[bytes]:
    """Smooth random pictures, half JPEG and half WebP."""
    rng = np.random.default_rng(0)
    files = []
    for number in range(min(count, 64)):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        picture = coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        picture.save(buffer, "JPEG" if number % 2 else "WEBP", quality=85)
        files.append(buffer.getvalue())
    return [files[number % len(files)] for number in range(count)]


def _from_files(loaded: Retriever, files: Sequence[bytes]) -> Row:
    """Decoded in threads, one for each core, while the batch before is encoded."""
    titles = texts(len(files))
    size = loaded.config.image_size

    def item(number: int) -> ItemInput:
        image = Image.open(io.BytesIO(files[number]))
        image.draft("RGB", (size, size))
        return ItemInput(loaded.processor.image(image), titles[number])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decoded = list(pool.map(item, range(min(len(files), 128))))
        loaded.encode_items(decoded[:64])  # warm-up
        loaded.encode_items(decoded[: len(files) % 64 or 64])
        started = perf_counter()
        list(pool.map(item, range(len(files))))
        alone = perf_counter() - started
        started = perf_counter()
        coming = pool.map(item, range(len(files)))
        for start in range(0, len(files), 64):
            loaded.encode_items([next(coming) for _ in range(min(64, len(files) - start))])
        took = perf_counter() - started
    return {"pictures": len(files), "items/s": len(files) / took, "decoded and resized/s": len(files) / alone}


def _tower_layouts(gpu: Gpu, model: str, pixels: Floats) -> list[Row]:
    """What `GraphModel` gains by channels last."""
    rows: list[Row] = []
    for name, layout in (("channels first", torch.contiguous_format), ("channels last", torch.channels_last)):
        tower = retriever.load(model, str(gpu.device), "bf16").model.vision.to(memory_format=layout)

        @torch.inference_mode()
        def measure(batch: int, tower: nn.Module = tower) -> Row:
            images = torch.from_numpy(pixels[:batch]).to(gpu.device, torch.bfloat16)
            return {"median ms": gpu.timed(partial(tower, images)).median}

        few = [batch for batch in gpu.batches if batch <= MOST_BLIP2]
        rows += [gpu.cell({"layout": name, "batch": batch}, partial(measure, batch)) for batch in few]
    return rows


def _bert(gpu: Gpu, config: RetrieverConfig) -> dict[str, Callable[[Ids, Ids], Floats]]:
    """transformers' plain text encoder of the Q-Former's shape, in float32 and under bfloat16 autocast."""
    from transformers import BertConfig, BertModel

    with gpu.device:
        bert = BertModel(
            BertConfig(
                vocab_size=config.vocab_size,
                hidden_size=config.hidden_size,
                num_hidden_layers=config.num_layers,
                num_attention_heads=config.num_heads,
                intermediate_size=config.intermediate_size,
            ),
            add_pooling_layer=False,
        ).eval()

    def encoder(autocast: bool) -> Callable[[Ids, Ids], Floats]:
        @torch.inference_mode()
        def encode(input_ids: Ids, attention_mask: Ids) -> Floats:
            ids, mask = (torch.from_numpy(array).to(gpu.device) for array in (input_ids, attention_mask))
            with torch.autocast(gpu.device.type, torch.bfloat16, enabled=autocast):
                states = bert(input_ids=ids, attention_mask=mask).last_hidden_state
            weights = mask.unsqueeze(-1)
            return to_array(F.normalize((states * weights).sum(dim=1) / weights.sum(dim=1), dim=-1))

        return encode

    return {"BertModel, fp32": encoder(False), "BertModel, bf16 autocast": encoder(True)}


def _rows(gpu: Gpu, kind: str, batch: int, calls: Calls, flops: float) -> list[Row]:
    """One row a call; `speed-up` is the first's median over its own."""
    rows: list[Row] = []
    for way, call in calls.items():

        def measure(call: Callable[[], Any] = call) -> Row:
            one = gpu.timed(call)
            baseline = rows[0].get("median ms") if rows else one.median
            return {
                "median ms": one.median,
                "p99 ms": one.p99,
                "inputs/s": 1000 * batch / one.median,
                "speed-up": baseline / one.median if baseline else "",
                "% of peak": gpu.share(batch * flops, one.median),
            }

        rows.append(gpu.cell({"input": kind, "batch": batch, "way": way}, measure))
    return rows


def _flops(backend: TorchModel, pixels: Floats, query: tuple[Ids, Ids], text: tuple[Ids, Ids]) -> tuple[float, float]:
    """Of one query, and of one item with picture and text."""
    return (
        flops_of(lambda: backend.encode_query(query[0][:1], query[1][:1])),
        flops_of(lambda: _encode(backend, pixels[:1], text[0][:1], text[1][:1])),
    )


def _encode(backend: Backend, images: Floats, input_ids: Ids | None, attention_mask: Ids | None) -> Floats:
    return backend.encode_item(backend.encode_pictures(images), input_ids, attention_mask)


def _words(rng: np.random.Generator, count: int, length: int, config: RetrieverConfig) -> tuple[Ids, Ids]:
    """Random word pieces of random lengths, at least half of `length`."""
    ids = rng.integers(1, config.vocab_size, (count, length))
    lengths = rng.integers(length // 2, length + 1, count)
    lengths[0] = length
    return ids, (np.arange(length) < lengths[:, None]).astype(np.int64)
