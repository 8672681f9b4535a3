"""Shopify's product CSV: rows of one handle are one product's, and each variant is an item."""

from typing import Any

import pytest

from examples.products import Product

BEFORE = """\
Handle,Title,Body (HTML),Vendor,Product Category,Type,Tags,Published,\
Option1 Name,Option1 Value,Option2 Name,Option2 Value,Variant SKU,\
Variant Inventory Tracker,Variant Inventory Qty,Variant Inventory Policy,Variant Price,\
Variant Compare At Price,Variant Barcode,Image Src,Image Position,Variant Image,\
Fabric (product.metafields.shopify.fabric),Cost per item,Status
tee,Tee,<p>Soft &amp; warm.</p>,Acme,Apparel > Shirts,Tops,"summer, basics",true,Color,Black,Size,S,\
TEE-S,shopify,4,deny,19.99,24.99,'00012,https://c/1.jpg?v=1,1,https://c/1.jpg?v=1,Cotton,8.50,active
tee,,,,,,,,,White,,M,TEE-M,shopify,-2,deny,21.00,,,https://c/2.jpg?v=1,2,,,8.50,
tee,,,,,,,,,,,,,,,,,,,https://c/3.jpg?v=1,3,,,,
mug,Mug,,Acme,,Mugs,,true,Title,Default Title,,,,,7,deny,5.00,,,,,,,1.00,active
"""
NOW = (
    BEFORE.replace("Handle,", "URL handle,")
    .replace("Body (HTML)", "Description")
    .replace("Published", "Published on online store")
    .replace("Variant Inventory Qty,Variant Inventory Policy", "Inventory quantity,Continue selling when out of stock")
    .replace("Variant Inventory Tracker", "Inventory tracker")
    .replace("Variant Compare At Price,Variant Barcode", "Compare-at price,Barcode")
    .replace("Variant SKU", "SKU")
    .replace("Variant Price", "Price")
    .replace("Image Src", "Product image URL")
    .replace("Variant Image", "Variant image URL")
    .replace(",deny,", ",FALSE,")
)


@pytest.mark.parametrize("export", [BEFORE, NOW], ids=["columns of before", "columns of now"])
def test_each_variant_is_an_item_with_what_its_product_has(feed: Any, export: str) -> None:
    shared = {
        "title": "Tee",
        "description": "Soft & warm.",
        "category": ["Apparel", "Shirts"],
    }
    named = {"item_group_id": "tee", "Vendor": "Acme", "Type": "Tops", "Tags": ["summer", "basics"], "Fabric": "Cotton"}
    pictures = tuple(f"https://c/{n}.jpg?v=1" for n in (1, 2, 3))
    assert feed(export) == [
        Product(
            "TEE-S",
            {
                **shared,
                "price": 19.99,
                "stock": 4,
                "attributes": named | {"Barcode": "00012", "Color": "Black", "Size": "S"},
            },
            urls=pictures[:1],
        ),
        Product(
            "TEE-M",
            {**shared, "price": 21.0, "stock": 0, "attributes": named | {"Color": "White", "Size": "M"}},
            urls=pictures,
        ),
        Product(
            "mug",
            {
                "title": "Mug",
                "category": ["Mugs"],
                "price": 5.0,
                "attributes": {"item_group_id": "mug", "Vendor": "Acme", "Type": "Mugs"},
            },
        ),
    ]


HEADER = (
    "Handle,Title,Published,Status,Option1 Name,Option1 Value,Variant SKU,Variant Price,"
    "Variant Inventory Tracker,Variant Inventory Qty,Variant Inventory Policy\n"
)


def test_what_is_not_for_sale_is_left_out(feed: Any) -> None:
    rows = "a,A,true,draft,,,,1,,,\nb,B,false,active,,,,1,,,\nc,C,,archived,,,,1,,,\nd,D,,,,,,1,,,\n"
    assert [product.id for product in feed(HEADER + rows)] == ["d"]


def test_variants_without_a_sku_are_called_by_their_options(feed: Any) -> None:
    rows = "a,A,,,Size,S,,1,,,\na,,,,,M,,1,,,\na,,,,,L,A-L,1,,,\n"
    assert [product.id for product in feed(HEADER + rows)] == ["a/S", "a/M", "A-L"]


@pytest.mark.parametrize(
    ("tracker", "left", "policy", "meant"),
    [("", "5", "deny", None), ("shopify", "0", "continue", None), ("shopify", "2", "continue", 2)],
)
def test_what_is_sold_without_end_has_no_stock(feed: Any, tracker: str, left: str, policy: str, meant: Any) -> None:
    (product,) = feed(f"{HEADER}a,A,,,,,,1,{tracker},{left},{policy}\n")
    assert product.fields.get("stock") == meant


def test_what_is_wrong_is_named_by_its_line_and_the_rest_arrives(feed: Any) -> None:
    rows = "a,A,,,Size,S,A-S,1,,,\na,,,,,M,A-M,soon,,,\na,,,,,L\nb,,,,,,B,1,,,\nc,C,,,,,C,1,shopify,few,deny\n"
    read = feed(HEADER + rows)
    assert {row.id for row in read if isinstance(row, Product)} == {"A-S"}
    told = {str(row).split(":")[0]: (row.item_id, str(row)) for row in read if not isinstance(row, Product)}
    assert {line: item_id for line, (item_id, _) in told.items()} == {
        "line 3": "A-M",
        "line 4": None,
        "line 5": None,
        "line 6": "C",
    }
    assert "keep the rows of one handle together" in told["line 5"][1]
    assert "'few'" in told["line 6"][1]
