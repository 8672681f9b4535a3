import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from retriever import Processor, Retriever
from retriever.files import write_whole
from training import features
from training.collate import Collator
from training.features import FeatureCache
from training.json_records import FormatError
from training.precision import computes_bf16


def pictures(shop: Path) -> list[Path]:
    return sorted((shop / "images").iterdir())


def test_features_are_what_the_tower_says(tiny_retriever: Retriever, toy_shop: Path, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, tiny_retriever.model.vision, tiny_retriever.processor)
    paths = pictures(toy_shop)
    cache.add(paths)
    cached = cache.read(paths)
    with torch.inference_mode():
        images = torch.from_numpy(np.stack([tiny_retriever.processor.image(Image.open(path)) for path in paths]))
        direct = tiny_retriever.model.encode_pictures(images)
    assert cached.tokens.shape == direct.tokens.shape
    assert torch.cosine_similarity(cached.tokens, direct.tokens, dim=-1).min() > 0.99  # bfloat16 and float16
    assert torch.allclose(cached.concepts, direct.concepts, atol=0.02)


def test_a_second_run_encodes_nothing(
    tiny_retriever: Retriever, toy_shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = pictures(toy_shop)
    FeatureCache(tmp_path, tiny_retriever.model.vision, tiny_retriever.processor).add(paths)
    monkeypatch.setattr(features, "_encode", lambda *_: pytest.fail("encoded again"))
    again = FeatureCache(tmp_path, tiny_retriever.model.vision, tiny_retriever.processor)
    again.add(paths)
    assert len(again.read(paths[:3]).tokens) == 3


def test_other_colours_of_the_same_tower_are_encoded_anew(
    tiny_retriever: Retriever, toy_shop: Path, tmp_path: Path
) -> None:
    paths, model, processor = pictures(toy_shop)[:1], tiny_retriever.model, tiny_retriever.processor
    config = replace(processor.config, image_mean=(0.1, 0.2, 0.3), image_std=(0.9, 0.8, 0.7))
    seen = []
    for one in (processor, Processor(config, processor.tokenizer)):
        cache = FeatureCache(tmp_path, model.vision, one)
        cache.add(paths)
        seen.append(cache.read(paths).tokens)
    assert not torch.equal(*seen)


def test_what_the_weights_do_not_say_makes_another_cache(
    tiny_retriever: Retriever, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vision, own = tiny_retriever.model.vision, tiny_retriever.processor

    def cache(**changed: object) -> Path:
        processor = Processor(replace(own.config, **changed), own.tokenizer)  # type: ignore[arg-type]
        return FeatureCache(tmp_path, vision, processor).folder

    folders = [cache(), cache(vision_backbone="resnet18"), cache(vision_args={"act_layer": "silu"})]
    monkeypatch.setattr(features, "computes_bf16", lambda device: not computes_bf16(device))
    assert len({*folders, cache()}) == 4
    assert cache() == cache()


def test_what_a_killed_run_left_half_written_is_overwritten(
    tiny_retriever: Retriever, toy_shop: Path, tmp_path: Path
) -> None:
    paths = pictures(toy_shop)
    first = FeatureCache(tmp_path, tiny_retriever.model.vision, tiny_retriever.processor)
    first.add(paths[:2])
    with (first.folder / "tokens.f16").open("ab") as file:
        file.write(b"half a row")
    resumed = FeatureCache(tmp_path, tiny_retriever.model.vision, tiny_retriever.processor)
    resumed.add(paths)
    whole = FeatureCache(tmp_path / "other", tiny_retriever.model.vision, tiny_retriever.processor)
    whole.add(paths)
    assert torch.allclose(resumed.read(paths).tokens, whole.read(paths).tokens, atol=0.05)


def test_the_index_is_written_more_seldom_as_it_grows_and_names_what_came_before_a_broken_picture(
    tiny_retriever: Retriever, toy_shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, sizes = pictures(toy_shop), []

    def written(path: Path, content: bytes) -> None:
        sizes.append(len(json.loads(content)["rows"]))
        write_whole(path, content)

    monkeypatch.setattr(features, "write_whole", written)
    monkeypatch.setattr(features, "BLOCK", 1)
    monkeypatch.setattr(features, "UNCOMMITTED", 1.0)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"")
    cache = FeatureCache(tmp_path, tiny_retriever.model.vision, tiny_retriever.processor)
    with pytest.raises(FormatError):
        cache.add([*paths[:7], broken])
    assert sizes == [1, 2, 4, 7]
    again = FeatureCache(tmp_path, tiny_retriever.model.vision, tiny_retriever.processor)
    assert len(again.read(paths[:7]).tokens) == 7


def test_two_runs_share_a_folder(tiny_retriever: Retriever, toy_shop: Path, tmp_path: Path) -> None:
    """Both opened it when it was empty."""
    paths = pictures(toy_shop)
    first, second = (FeatureCache(tmp_path, tiny_retriever.model.vision, tiny_retriever.processor) for _ in range(2))
    first.add(paths[:2])
    second.add(paths[2:4])
    first.add(paths)
    alone = FeatureCache(tmp_path / "other", tiny_retriever.model.vision, tiny_retriever.processor)
    alone.add(paths)
    assert torch.allclose(first.read(paths).tokens, alone.read(paths).tokens, atol=0.05)
    assert torch.equal(second.read(paths[2:4]).tokens, first.read(paths[2:4]).tokens)


def test_pictures_are_seen_upright(tiny_retriever: Retriever, tmp_path: Path) -> None:
    """As the service and the evaluation see them, whichever way the telephone was held."""
    upright = Image.new("RGB", (60, 40), "red")
    upright.paste("blue", (0, 0, 20, 40))
    upright.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "held.png", exif=exif)
    cache = FeatureCache(tmp_path, tiny_retriever.model.vision, tiny_retriever.processor)
    paths = [tmp_path / "upright.png", tmp_path / "held.png"]
    cache.add(paths)
    one, other = cache.read(paths).tokens
    assert torch.equal(one, other)


def test_a_share_of_the_patches(tiny_retriever: Retriever, toy_shop: Path, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, tiny_retriever.model.vision, tiny_retriever.processor)
    cache.add(pictures(toy_shop))
    every = cache.read(pictures(toy_shop)[:1]).tokens
    half = cache.read(pictures(toy_shop)[:1], np.random.default_rng(0), share=0.5).tokens
    assert half.shape[1] == round(every.shape[1] / 2)
    assert all((every[0] == row).all(dim=-1).any() for row in half[0])


def test_a_broken_picture_is_named(tiny_retriever: Retriever, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture")
    with pytest.raises(FormatError, match=r"broken\.png"):
        FeatureCache(tmp_path, tiny_retriever.model.vision, tiny_retriever.processor).add([broken])


def test_collated_items_equal_items_encoded_alone(tiny_retriever: Retriever, toy_shop: Path, tmp_path: Path) -> None:
    """A mixed batch with gaps gives each item what it would get by itself. Spaces are no text, as in the service."""
    cache = FeatureCache(tmp_path, tiny_retriever.model.vision, tiny_retriever.processor)
    first, second, *_ = pictures(toy_shop)
    cache.add([first, second])
    collator = Collator(tiny_retriever.processor, cache)
    items = [("red mug", first), ("", second), (" ", second), ("a blue lamp", None)]
    model = tiny_retriever.model
    with torch.inference_mode():
        together = model.encode_item(**collator.items([text for text, _ in items], [path for _, path in items]))
        alone = [model.encode_item(**collator.items([text], [path])) for text, path in items]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    assert torch.equal(alone[1], alone[2])


def test_views_are_parts_of_the_same_pictures_and_training_draws_among_them(
    tiny_retriever: Retriever, toy_shop: Path, tmp_path: Path
) -> None:
    paths = pictures(toy_shop)[:4]
    cache = FeatureCache(tmp_path, tiny_retriever.model.vision, tiny_retriever.processor, views=3)
    cache.add(paths)
    whole = FeatureCache(tmp_path, tiny_retriever.model.vision, tiny_retriever.processor).read(paths).tokens
    assert torch.equal(cache.read(paths).tokens, whole)  # nothing is drawn for a measurement

    drawn = [cache.read(paths, np.random.default_rng(seed)).tokens for seed in range(20)]
    assert len({tokens[0].sum().item() for tokens in drawn}) == 3
    assert any(torch.equal(tokens[0], whole[0]) for tokens in drawn)
    again = FeatureCache(tmp_path / "again", tiny_retriever.model.vision, tiny_retriever.processor, views=3)
    again.add(paths)
    assert torch.allclose(again.read(paths, np.random.default_rng(0)).tokens, drawn[0], atol=0.05)
