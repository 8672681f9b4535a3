"""What the index and the model are given of an item. No service needed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retriever.index import Payload
from service.media import MediaStore
from service.payload import indexed, lexical_text, new_payload, stored_inputs
from service.schemas import ItemFields


def payload(**fields: Any) -> Payload:
    return new_payload(ItemFields(id="sku-9", **fields), [], None)


def test_words_are_looked_for_in_all_that_is_said_of_an_item() -> None:
    attributes = {"article": "KC-17", "sizes": ["350 ml", "A4"], "litres": 0.35, "brand": "Kiln"}
    item = payload(title="Mug", description="Holds tea.", category=["Home", "Kitchen"], attributes=attributes)
    text = lexical_text(item)
    for said in ("Mug", "Holds tea", "Home", "Kitchen", "KC-17", "350 ml", "A4", "0.35", "Kiln", "sku-9"):
        assert said in text, said
    assert "[" not in text, "of a list its values"


def test_a_flag_is_no_word() -> None:
    assert "True" not in lexical_text(payload(title="Mug", attributes={"dishwasher": True}))


@pytest.mark.parametrize(("stock", "available"), [(None, True), (3, True), (0, False)])
def test_an_item_is_available_unless_its_stock_is_said_to_be_nothing(stock: int | None, available: bool) -> None:
    fields = indexed(payload(title="Mug", stock=stock), np.ones((1, 2), np.float32)).fields
    assert fields["available"] is available
    assert fields.get("stock") == stock
    assert "price" not in fields, "what is not known is no value"


def test_the_title_is_what_names_an_item_in_the_index() -> None:
    item = payload(title="Mug", description="Holds tea.")
    one = indexed(item, np.ones((1, 2), np.float32))
    assert (one.id, one.title, one.payload) == ("sku-9", "Mug", item)


def test_an_item_that_lost_its_only_picture_and_has_no_words_is_known_by_its_id(tmp_path: Path) -> None:
    item = payload() | {"images": [{"file": "gone.jpg"}]}
    (given,) = stored_inputs(MediaStore(tmp_path), item, FileNotFoundError)
    assert (given.image, given.text) == (None, "sku-9")
    with pytest.raises(FileNotFoundError):
        stored_inputs(MediaStore(tmp_path), item)
