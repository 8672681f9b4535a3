"""Google's product feeds as XML."""

from typing import Any

import pytest

from examples.products import Product, Rejected

MUG = """
<g:id>m/1</g:id><title>Mug &amp; saucer</title><link>https://s/1</link>
<description>&lt;p&gt;Holds 350 ml.&lt;/p&gt;&lt;p&gt;Großer Becher&lt;/p&gt;</description>
<g:description> </g:description>
<g:image_link>https://a/1.jpg</g:image_link>
<g:additional_image_link>https://a/w_1,h_2.jpg</g:additional_image_link>
<g:additional_image_link>https://a/3.jpg</g:additional_image_link>
<g:price>12.50 EUR</g:price><g:sale_price>9.90 EUR</g:sale_price><g:availability>in_stock</g:availability>
<g:product_type>Home &gt; Kitchen</g:product_type><g:brand>Kiln</g:brand>
<g:shipping><g:country>DE</g:country><g:price>4.90 EUR</g:price></g:shipping>
"""
RSS = '<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel><title>Shop</title>{}</channel></rss>'
ATOM = '<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0"><title>Shop</title>{}</feed>'


def rss(*items: str) -> str:
    return RSS.format("".join(f"<item>{item}</item>" for item in items))


@pytest.mark.parametrize("xml", [rss(MUG), ATOM.format(f"<entry><id>tag:s,1</id>{MUG}</entry>")], ids=["RSS", "Atom"])
def test_rss_and_atom_are_read_as_googles_columns(feed: Any, xml: str) -> None:
    expected = {
        "title": "Mug & saucer",
        "description": "Holds 350 ml.\nGroßer Becher",
        "category": ["Home", "Kitchen"],
        "price": 9.9,
        "attributes": {"brand": "Kiln", "link": "https://s/1"},
    }
    pictures = ("https://a/1.jpg", "https://a/w_1%2Ch_2.jpg", "https://a/3.jpg")
    assert feed(xml, "feed.xml") == [Product("m/1", expected, (), pictures)]


def test_one_product_that_is_wrong_fails_alone(feed: Any) -> None:
    cheap, nameless, lamp = feed(
        rss(
            "<g:id>a</g:id><g:price>on request</g:price>",
            "<title>Mug</title>",
            "<g:id>c</g:id><title>Lamp</title>",
        ),
        "feed.xml",
    )
    assert isinstance(cheap, Rejected)
    assert (cheap.item_id, str(cheap).partition(":")[0]) == ("a", "product 1")
    assert isinstance(nameless, Rejected)
    assert (nameless.item_id, "must have an id" in str(nameless)) == (None, True)
    assert lamp == Product("c", {"title": "Lamp"})


@pytest.mark.parametrize(
    "broken", ["<item><title>Salt & pepper</title></item>", "<item><g:id>b</g:id>", "\0", "&boom;"]
)
def test_where_the_xml_breaks_the_rest_may_be_any_items(feed: Any, broken: str) -> None:
    xml = rss("<g:id>a</g:id><title>Mug</title>").replace("</channel>", broken + "</channel>")
    product, rejected = feed(xml, "feed.XML")
    assert product == Product("a", {"title": "Mug"})
    assert isinstance(rejected, Rejected)
    assert (rejected.item_id, str(rejected).startswith("product 2: is no XML")) == (None, True)


@pytest.mark.parametrize("content", [b"", b"id,title\n1,Mug\n", b'<?xml version="1.0" encoding="none"?><rss/>'])
def test_what_is_no_xml_at_all_is_told(feed: Any, content: bytes) -> None:
    (rejected,) = feed(content, "feed.xml")
    assert str(rejected).startswith("product 1: is no XML")


def test_entities_do_not_grow_without_bound(feed: Any) -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "lol" * 100}">' for n in range(9))
    xml = f"<!DOCTYPE rss [{entities}]>" + rss("<g:id>a</g:id><title>&e8;</title>")
    (rejected,) = feed(xml, "feed.xml")
    assert isinstance(rejected, Rejected)
