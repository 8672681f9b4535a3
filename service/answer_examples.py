"""Examples of answers in the OpenAPI document, as the demonstration shop gives them.

They are put in once the document is made: FastAPI takes every null out of the examples that a schema has itself, and
an item without a stock says so.
"""

from typing import Any

_ITEM = {
    "id": "mg-004",
    "title": "Oakridge Iris mug",
    "description": "This mug of glazed earthenware holds 350 millilitres. Made in small batches.",
    "category": ["Home", "Kitchen", "Mugs"],
    "price": 11.95,
    "stock": None,
    "attributes": {"brand": "Oakridge", "material": "glazed earthenware", "article": "MG-2255"},
    "images": [
        {
            "url": "/items/mg-004/image?n=0&v=3f2b8c0d9e5a4b7c8d1e6f0a2b4c6d8e",
            "width": 640,
            "height": 640,
            "sha256": "d01769f6cc8ff66a9f693a8418ce4493bed84b768aeaa703e9a16fccb25ebf36",
            "source_sha256": None,
        }
    ],
    "version": 1_769_860_800_000_000,
    "created_at": "2026-01-31T12:00:00.000+00:00",
    "updated_at": "2026-01-31T12:00:00.000+00:00",
}
_BRANDS = {
    "values": [{"value": "Fennel", "count": 35}, {"value": "Hartmoor", "count": 34}],
    "min": None,
    "max": None,
    "ranges": [],
}
_HIT = {
    "id": "mg-004",
    "score": 0.71,
    "item": _ITEM,
    "pinned": False,
    "match": None,
    "group": None,
    "explanation": None,
    "highlights": None,
}
_SEARCH = {
    "hits": [_HIT],
    "total": 300,
    "next_cursor": "MTo3ZTY1YTQ1MWY4YmMzOTU4",
    "facets": {"brand": _BRANDS},
    "corrected_query": None,
    "took_ms": {"queue": 0.1, "encode": 6.2, "retrieve": 3.0, "total": 9.6},
    "model_id": "5e4c991110b6",
    "search_id": "9d1c5f0e7b1d4c0c8a3d2f4b6e8a0c1d",
}


def add_to(document: dict[str, Any]) -> None:
    """Gives the schemas of answers their examples."""
    for name, answer in (
        ("Item", _ITEM),
        ("PartialItem", _ITEM),
        ("FacetResult", _BRANDS),
        ("SearchResponse", _SEARCH),
    ):
        document["components"]["schemas"][name]["examples"] = [answer]
