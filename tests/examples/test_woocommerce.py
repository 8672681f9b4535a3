"""WooCommerce's product CSV: products, their variations, and what is not for sale."""

from typing import Any

import pytest

from examples.products import Product

EXPORT = r"""ID,Type,SKU,Name,Published,"Is featured?","Visibility in catalog","Short description",Description,\
"Date sale price starts","Date sale price ends","Tax status","In stock?",Stock,"Backorders allowed?","Weight (kg)",\
"Sale price","Regular price",Categories,Tags,Images,Parent,Position,"Attribute 1 name","Attribute 1 value(s)",\
"Attribute 1 visible","Meta: _wc_cog_cost"
44,variable,tee,"Tee &amp; more",1,0,visible,Short.,"<p>Soft.</p>\n<ul><li>Warm</li></ul>",,,taxable,1,7,0,.5,,,\
"Sale, Clothing > Tees, Home &amp; Garden","new, basic","https://a/1.jpg, https://a/2.jpg",,0,Color,"Blue, Red",1,4
46,simple,cap,Cap,1,0,visible,,"Line\nnext",,,taxable,1,,0,,"8,50",10,Clothing,,https://a/3.jpg,,0,Size,\
"One\, for all",1,4
76,variation,tee-red,"Tee - Red",1,0,visible,,,,,taxable,1,parent,0,,,20,,,https://a/2.jpg,tee,0,Color,Red,,4
77,variation,,"Tee - Blue",1,0,visible,,Blue.,,,taxable,0,,0,,15,20,,,,id:44,0,Color,Blue,,4
""".replace("\\\n", "")
HEADER = (
    "ID,Type,SKU,Name,Published,Visibility in catalog,In stock?,Stock,Backorders allowed?,Regular price,Sale price,"
    "Date sale price starts,Date sale price ends,Parent\n"
)


def test_products_and_their_variations_become_items(feed: Any) -> None:
    tee: dict[str, Any] = {
        "item_group_id": "44",
        "weight (kg)": ".5",
        "Tags": ["new", "basic"],
        "Categories": ["Sale", "Clothing > Tees", "Home & Garden"],
    }
    assert feed(EXPORT) == [
        Product(
            "46",
            {
                "title": "Cap",
                "description": "Line\nnext",
                "category": ["Clothing"],
                "price": 8.5,
                "attributes": {"SKU": "cap", "Size": "One, for all"},
            },
            urls=("https://a/3.jpg",),
        ),
        Product(
            "76",
            {
                "title": "Tee - Red",
                "description": "Short.\n\nSoft.\nWarm",
                "category": ["Clothing", "Tees"],
                "price": 20.0,
                "stock": 7,
                "attributes": tee | {"SKU": "tee-red", "Color": "Red"},
            },
            urls=("https://a/2.jpg",),
        ),
        Product(
            "77",
            {
                "title": "Tee - Blue",
                "description": "Short.\n\nBlue.",
                "category": ["Clothing", "Tees"],
                "price": 15.0,
                "stock": 0,
                "attributes": tee | {"Color": "Blue"},
            },
            urls=("https://a/1.jpg", "https://a/2.jpg"),
        ),
    ]


def test_a_product_whose_variations_are_not_in_the_file_is_an_item(feed: Any) -> None:
    (product,) = feed("".join(EXPORT.splitlines(keepends=True)[:2]))
    assert (product.id, product.fields["title"]) == ("44", "Tee & more")
    assert product.fields["attributes"]["Color"] == ["Blue", "Red"]


def test_what_is_not_for_sale_is_left_out(feed: Any) -> None:
    rows = [
        "1,simple,a,Draft,'-1,visible,1,,0,5,,,,",
        "2,simple,b,Private,0,visible,1,,0,5,,,,",
        "3,simple,c,Hidden,1,hidden,1,,0,5,,,,",
        "4,variable,d,Draft,-1,visible,1,,0,,,,,",
        "5,variation,e,Of a draft,1,visible,1,,0,5,,,,d",
        "6,variation,f,Switched off,0,visible,1,,0,5,,,,id:7",
        "7,variable,g,Without one that is on,1,visible,1,,0,,,,,",
        "8,simple,h,Shop,1,catalog,1,,0,5,,,,",
    ]
    assert [product.id for product in feed(HEADER + "\n".join(rows))] == ["8"]


@pytest.mark.parametrize(
    ("in_stock", "stock", "backorders", "meant"),
    [
        ("1", "", "0", None),
        ("1", "3", "0", 3),
        ("0", "", "0", 0),
        ("1", "-2", "notify", None),
        ("backorder", "0", "1", None),
    ],
)
def test_what_can_be_ordered_is_in_stock(feed: Any, in_stock: str, stock: str, backorders: str, meant: Any) -> None:
    (product,) = feed(f"{HEADER}1,simple,a,A,1,visible,{in_stock},{stock},{backorders},5,,,,\n")
    assert product.fields.get("stock") == meant


@pytest.mark.parametrize(
    ("begins", "ends", "meant"),
    [("", "", 3), ("", "2020-02-01", 5), ("2020-01-01 00:00:00", "", 3), ("2999-01-01", "", 5)],
)
def test_a_sale_counts_on_its_days(feed: Any, begins: str, ends: str, meant: float) -> None:
    (product,) = feed(f"{HEADER}1,simple,a,A,1,visible,1,,0,5,3,{begins},{ends},\n")
    assert product.fields["price"] == meant


def test_what_is_wrong_is_named_by_its_line_and_the_rest_arrives(feed: Any) -> None:
    price, stock, good = feed(
        f"{HEADER}1,simple,a,A,1,visible,1,,0,soon,,,,\n2,simple,b,B,1,visible,1,few,0,5,,,,\n"
        "3,simple,c,C,1,visible,1,,0,5,,,,\n"
    )
    assert (price.item_id, stock.item_id, good.id) == ("1", "2", "3")
    assert str(price).startswith("line 2: regular price 'soon'")
    assert str(stock).startswith("line 3: stock must be a number")
