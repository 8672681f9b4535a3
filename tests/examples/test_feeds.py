"""Product feeds as shops export them: Google's columns, three delimiters, prices as people write them."""

from pathlib import Path
from typing import Any

import pytest

from examples.feeds import UnreadableFeed
from examples.products import Product, Rejected

FEED = """\
id\ttitle\tdescription\tproduct_type\tprice\tsale price\tavailability\tBrand\tgtin\timage_link\tadditional image link
1\tMug\t"Holds ""350"" ml.
Dishwasher-safe."\tHome > Kitchen\t12.50 EUR\t9.90 EUR\tout of stock\tKiln\t0012\thttps://a/1\t"https://a/2, b.png"
2\tLamp\t\t\t40.00 EUR\t\tpreorder\t\t\tlamp.png\t
"""


def fields(product: Product | Rejected) -> dict[str, Any]:
    assert isinstance(product, Product), product
    return product.fields


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_googles_columns_become_fields_and_all_others_attributes(
    feed: Any, tmp_path: Path, delimiter: str, mark: str
) -> None:
    mug, lamp = feed(mark + FEED.replace("\t", delimiter))
    assert mug == Product(
        "1",
        {
            "title": "Mug",
            "description": 'Holds "350" ml.\nDishwasher-safe.',
            "category": ["Home", "Kitchen"],
            "price": 9.9,
            "stock": 0.0,
            "attributes": {"Brand": "Kiln", "gtin": "0012"},
        },
        (tmp_path / "b.png",),
        ("https://a/1", "https://a/2"),
    )
    assert lamp == Product(
        "2",
        {"title": "Lamp", "price": 40.0, "attributes": {"availability": "preorder"}},
        (tmp_path / "lamp.png",),
    )


def test_columns_have_many_names(feed: Any) -> None:
    (product,) = feed(
        "Item ID,SKU,Name,google product category,g:Image Link,g:link,Created At\n"
        "7,K-7,Mug,A>B,a.png,https://s/7,2026-01-31\n"
    )
    assert (product.id, [path.name for path in product.pictures]) == ("7", ["a.png"])
    assert product.fields == {
        "title": "Mug",
        "category": ["A", "B"],
        "attributes": {"sku": "K-7", "link": "https://s/7"},
        "created_at": "2026-01-31",
    }
    (product,) = feed("sku,title,product_type,google_product_category\nK-7,Mug,Mugs,166\n")
    assert (product.id, product.fields["category"]) == ("K-7", ["Mugs"])
    assert product.fields["attributes"] == {"google_product_category": "166"}


def test_a_picture_in_a_description_is_no_end_of_its_cell(feed: Any) -> None:
    picture = f'<img src=""data:image/png;base64,{"A" * 200_000}"">'
    one, two = feed(f'id,title,description\n1,Mug,"<p>Of clay</p>{picture}\n<p>red, blue</p>"\n2,Lamp,\n')
    assert fields(one)["description"] == "Of clay\nred, blue"
    assert two.id == "2"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("12.50 EUR", 12.5),
        ("12,50 €", 12.5),
        ("€12,5", 12.5),
        ("USD 1,299.00", 1299),
        ("1.299,00 EUR", 1299),
        ("$1,299", 1299),
        ("1 299,00 zł", 1299),
        ("CHF 1'299.00", 1299),
        ("1,234,567.8", 1234567.8),
        ("1.234.567", 1234567),
        ("Rs. 500", 500),
        ("0.125", 0.125),
        ("19.-", 19),
        ("１２００円", 1200),
    ],
)
def test_prices_as_people_write_them(feed: Any, written: str, meant: float) -> None:
    assert fields(feed(f"id;price\n1;{written}\n")[0])["price"] == meant


@pytest.mark.parametrize("written", ["on request", "1.299", "-5", "12.50.30", "10 - 20 EUR", "1e3", "₹१२९९"])
def test_a_price_that_is_none_or_could_be_two_is_named_with_its_line(feed: Any, written: str) -> None:
    one, rejected = feed(f"id;title;price\n1;'a;3\n2;b;{written}\n")
    assert one.id == "1"
    assert str(rejected).startswith(f"line 3: price {written!r} cannot be read")


@pytest.mark.parametrize(
    ("price", "sale", "meant"), [("10", "8", 8), ("10", "12", 10), ("10", "0.00 EUR", 10), ("", "8", 8), ("0", "", 0)]
)
def test_the_lower_price_counts(feed: Any, price: str, sale: str, meant: float) -> None:
    assert fields(feed(f"id,price,sale_price\n1,{price},{sale}\n")[0])["price"] == meant


@pytest.mark.parametrize(
    ("days", "meant"),
    [
        ("", 8),
        ("2020-01-01T13:00-0800/2020-02-01T15:30-0800", 10),
        ("2020-01-01T13:00-0800 / 2999-02-01T15:30-0800", 8),
        ("2999-01-01/2999-02-01", 10),
        ("2020-01-01/", 8),
    ],
    ids=["always", "over", "on", "to come", "without an end"],
)
def test_a_sale_counts_on_its_days(feed: Any, days: str, meant: float) -> None:
    (product,) = feed(f"id,price,sale price,sale price effective date\n1,10,8,{days}\n")
    assert product.fields == {"price": meant}


def test_the_days_of_a_sale_that_cannot_be_read_are_told(feed: Any) -> None:
    (rejected,) = feed("id,price,sale_price,sale_price_effective_date\n1,10,8,all May\n")
    assert "sale_price_effective_date 'all May'" in str(rejected)


def test_a_description_in_html_becomes_what_a_browser_shows(feed: Any) -> None:
    (product,) = feed("id,description\n1,<p>Soft &amp; warm.<br>For <b>tea</b></p>\n")
    assert product.fields["description"] == "Soft & warm.\nFor tea"


@pytest.mark.parametrize(
    ("availability", "stock", "meant"),
    [("in_stock", "", None), ("In stock", "3", 3), ("out_of_stock", "3", 0), ("Out of Stock", "", 0), ("", "4", 4)],
)
def test_what_is_sold_out_has_a_stock_of_none(feed: Any, availability: str, stock: str, meant: int | None) -> None:
    (product,) = feed(f"id,title,availability,stock\n1,a,{availability},{stock}\n")
    assert (fields(product).get("stock"), "attributes" in product.fields) == (meant, False)


def test_one_bad_row_costs_one_product_and_is_named_by_the_line_on_which_it_begins(feed: Any) -> None:
    content = b'id,title\n1,"a\nb"\n2,caf\xe9\n3,c,d\n,e\n\n4,"f" g\n5,h\n6,"i\n7,j\n'
    good, bad = [], []
    for row in feed(content):
        good.append(row.id) if isinstance(row, Product) else bad.append(str(row).split(":")[0])
    assert (good, bad) == (["1", "5"], ["line 4", "line 5", "line 6", "line 8", "line 10"])
    assert "is not UTF-8" in str(feed(content)[1])


def test_a_header_that_does_not_say_which_column_is_which_is_refused(feed: Any) -> None:
    with pytest.raises(UnreadableFeed, match="first line is not UTF-8: save it as UTF-8"):
        feed("id,prix_réduit\n1,2\n".encode("latin-1"))
    for header, told in (("name,price", "No column is called id or item_id or sku"), ("id,g:ID", "'id'"), ("", "id")):
        with pytest.raises(UnreadableFeed, match=told):
            feed(f"{header}\n1,2\n")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_told_in_one_line(feed: Any, encoding: str) -> None:
    with pytest.raises(UnreadableFeed, match="UTF-16, or no text: save it as UTF-8"):
        feed("id\ttitle\n1\tMug\n".encode(encoding), "feed.tsv")


def test_a_txt_is_a_feed_too(feed: Any) -> None:
    assert feed("id\ttitle\n1\tMug\n", "feed.txt") == [Product("1", {"title": "Mug"})]


def test_of_what_is_wrong_the_id_is_known_where_it_can_be_read(feed: Any) -> None:
    rows = b"id,title,price\n1,a,on request\n2,caf\xe9,1\ncaf\xe9,a,1\n,a,1\n5,a,1,more\n..,a,1\n"
    assert [row.item_id for row in feed(rows)] == ["1", "2", None, None, None, None]
