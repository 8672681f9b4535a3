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
