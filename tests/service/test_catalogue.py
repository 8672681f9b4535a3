"""Writes of one item side by side: each is whole, and none undoes another."""

from concurrent.futures import ThreadPoolExecutor

from fastapi.testclient import TestClient

from tests.service.helpers import post_item


def test_changes_of_one_item_side_by_side_lose_none(client: TestClient) -> None:
    post_item(client, "mug", title="mug")
    with ThreadPoolExecutor(8) as pool:
        changes = [{"attributes": {f"field {n}": n}} for n in range(16)]
        answers = list(pool.map(lambda change: client.patch("/items/mug", json=change), changes))
    assert {answer.status_code for answer in answers} == {200}
    assert client.get("/items/mug").json()["attributes"] == {f"field {n}": n for n in range(16)}


def test_words_of_a_replaced_item_are_suggested_no_more(client: TestClient) -> None:
    def suggested() -> list[str]:
        return [one["text"] for one in client.get("/suggest", params={"q": "stone"}).json()["suggestions"]]

    post_item(client, "mug", title="Stoneware mug")
    assert suggested() == ["Stoneware mug"]
    client.patch("/items/mug", json={"title": "Enamel mug"})
    assert suggested() == []


def test_a_change_moves_an_item_among_the_changed_and_not_among_the_new(client: TestClient) -> None:
    def order(sort: str) -> list[str]:
        return [item["id"] for item in client.get("/items", params={"sort": sort}).json()["items"]]

    for item_id in ("old", "new"):
        post_item(client, item_id, title="mug")
    client.patch("/items/old", json={"price": 1})
    assert order("updated_at:desc") == ["old", "new"]
    assert order("created_at:desc") == ["new", "old"]
