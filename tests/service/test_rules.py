"""`/rules`: synonyms, and what comes first or never for certain queries."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service import rules, searcher
from service.app import create_app
from service.logs import StartupFailed
from service.rules import FILE, RuleBook, Rules
from service.settings import Settings
from tests.service.helpers import picture_file, post_item
from tests.service.test_encoder import until
from tests.service.test_problems import check


@pytest.fixture
def shop(client: TestClient) -> TestClient:
    for n in range(6):
        assert post_item(client, f"mug-{n}", title=f"stoneware mug {n}", category="Kitchen").status_code == 201
    assert post_item(client, "tv", picture_file("black"), title="television").status_code == 201
    return client


def found(client: TestClient, query: str, **more: Any) -> list[str]:
    answer = client.post("/search", json={"query": query, **more})
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["hits"]]


def put(client: TestClient, **content: Any) -> None:
    answer = client.put("/rules", json=content)
    assert answer.status_code == 200, answer.text


def test_pinned_items_come_first_and_hidden_ones_never(shop: TestClient) -> None:
    best = found(shop, "mug")
    put(shop, curations=[{"query": " Mug", "pin": ["tv", best[3]], "hide": [best[0]]}])
    answer = shop.post("/search", json={"query": "mug", "facets": ["category"]}).json()
    assert [hit["id"] for hit in answer["hits"][:2]] == ["tv", best[3]]
    assert [hit["pinned"] for hit in answer["hits"]] == [True, True, False, False, False, False]
    assert best[0] not in [hit["id"] for hit in answer["hits"]]
    assert answer["total"] == 6
    assert answer["facets"]["category"]["values"] == [{"value": "Kitchen", "count": 5}]
    assert found(shop, "stoneware mug")[0] != "tv", "another query"
    assert set(found(shop, "mug", filter={"category": "Kitchen"})) == {f"mug-{n}" for n in range(6)} - {best[0]}
    assert found(shop, "mug", relevance_floor=0.99)[:2] == ["tv", best[3]]
    pages = [found(shop, "mug", limit=2, offset=offset) for offset in (0, 2, 4)]
    assert [one for page in pages for one in page] == found(shop, "mug")
    put(shop)
    assert found(shop, "mug") == best


def test_a_curation_holds_for_the_corrected_query_too(shop: TestClient) -> None:
    put(shop, curations=[{"query": "stoneware", "pin": ["tv"]}])
    assert found(shop, "stonewear")[0] == "tv"
    assert found(shop, "stonewear", correct=False)[0] != "tv"


def test_a_curation_holds_for_a_query_as_it_was_typed(shop: TestClient) -> None:
    typed = ["What is it?", "stoneware!", '"stoneware mug"', "mug -black", "Stoneware   Mug"]
    pins = [{"query": query, "pin": ["mug-0"]} for query in typed]
    put(shop, curations=[*pins, {"query": "mug", "pin": ["mug-3"]}])
    assert [found(shop, query, limit=1) for query in typed] == [["mug-0"]] * 5
    assert found(shop, "mug", limit=1) == found(shop, "Mug!", limit=1) == ["mug-3"]
    assert "tv" not in found(shop, '"stoneware mug"'), "what it asks for still holds"


def test_a_curation_holds_for_a_synonym_and_for_what_it_means(shop: TestClient) -> None:
    known = [{"words": ["telly", "goggle box"], "means": "television"}]
    put(
        shop,
        synonyms=known,
        curations=[{"query": "telly", "pin": ["mug-0"]}, {"query": "television", "pin": ["mug-1"]}],
    )
    assert found(shop, "telly", limit=1) == ["mug-0"]
    assert found(shop, "goggle box", limit=1) == ["mug-1"]


def test_a_curation_may_hold_for_all_queries_with_certain_words(shop: TestClient) -> None:
    pins = {"stoneware mug": "mug-0", "a stoneware mug": "mug-1", "stoneware": "mug-2"}
    containing = [{"query": query, "match": "contains", "pin": [pin]} for query, pin in pins.items()]
    put(shop, curations=[*containing, {"query": "stoneware mug 5", "pin": ["mug-5"]}])
    first = {
        "big Stoneware mug": "mug-0",
        "is it a stoneware mug?": "mug-1",
        '"stoneware mug" 3': "mug-0",
        "stonewear 4": "mug-2",
        "stoneware": "mug-2",
        "stoneware mug 5": "mug-5",
    }
    assert {query: found(shop, query, limit=1)[0] for query in first} == first
    others = shop.post("/search", json={"query": "mug -stoneware television"}).json()["hits"]
    assert not any(hit["pinned"] for hit in others), "it says that these are not wanted"


def test_a_curation_may_hold_for_a_season(shop: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def on(day: str) -> list[str]:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> "datetime":
                return datetime.fromisoformat(f"{day}T12:00:00Z").astimezone(tz)

        monkeypatch.setattr(searcher, "datetime", Clock)
        hits = shop.post("/search", json={"query": "gift"}).json()["hits"]
        return [hit["id"] for hit in hits if hit["pinned"]]

    seasons = [
        {"query": "gift", "pin": ["mug-1"], "ends_at": "2026-02-15T00:00:00+01:00"},
        {"query": "Gift", "pin": ["mug-2"], "starts_at": "2026-11-20T00:00:00Z", "ends_at": "2026-12-25T00:00:00Z"},
        {"query": "gift", "match": "contains", "pin": ["mug-3"], "starts_at": "2026-07-01T00:00:00Z"},
    ]
    put(shop, curations=seasons)
    days = ["2026-01-20", "2026-04-01", "2026-08-01", "2026-12-24", "2026-12-25"]
    assert [on(day) for day in days] == [["mug-1"], [], ["mug-3"], ["mug-2"], ["mug-3"]]


def test_synonyms_are_searched_for_in_their_place(shop: TestClient) -> None:
    assert "tv" not in found(shop, "telly set", mode="lexical")
    put(shop, synonyms=[{"words": ["telly", "Telly set"], "means": "television"}])
    answer = shop.post("/search", json={"query": "TELLY  set", "mode": "lexical", "explain": True}).json()
    assert [hit["id"] for hit in answer["hits"]] == ["tv"]
    assert answer["hits"][0]["explanation"]["words"] == ["television"]
    assert answer["corrected_query"] is None, "the shopper made no mistake"
    assert found(shop, '"telly"', mode="lexical") == [], "a phrase is word for word"
    form = {"image": ("a.png", picture_file("red")), "query": (None, "telly"), "explain": (None, "true")}
    hits = {hit["id"]: hit for hit in shop.post("/search/image", files=form).json()["hits"]}
    assert hits["tv"]["explanation"]["words"] == ["television"]


def test_a_synonym_may_be_misspelt(shop: TestClient) -> None:
    assert post_item(shop, "other", title="wardrobe for a television").status_code == 201
    put(shop, synonyms=[{"words": ["wardrobe"], "means": "mug"}], curations=[{"query": "wardrobe", "pin": ["tv"]}])
    answer = shop.post("/search", json={"query": "wardrbe", "explain": True}).json()
    assert answer["corrected_query"] == "wardrobe"
    assert answer["hits"][0]["id"] == "tv", "a curation of what was meant"
    assert answer["hits"][1]["explanation"]["words"] == ["mug"]
    form = {"image": ("a.png", picture_file("red")), "query": (None, "wardrbe"), "explain": (None, "true")}
    by_picture = shop.post("/search/image", files=form).json()
    assert by_picture["corrected_query"] == "wardrobe"
    words = {hit["id"]: hit["explanation"]["words"] for hit in by_picture["hits"]}
    assert (words["mug-0"], words["other"]) == (["mug"], [])


def test_a_word_that_only_a_synonym_knows_is_what_a_misspelt_one_is_meant_for(shop: TestClient) -> None:
    put(shop, synonyms=[{"words": ["jumper"], "means": "mug"}])
    answer = shop.post("/search", json={"query": "jumpr", "mode": "lexical"}).json()
    assert answer["corrected_query"] == "jumper"
    assert answer["hits"][0]["id"].startswith("mug-")
    put(shop)
    assert shop.post("/search", json={"query": "jumpr"}).json()["corrected_query"] == "jump"


def test_a_curation_holds_for_other_forms_of_its_words(shop: TestClient) -> None:
    put(
        shop,
        curations=[
            {"query": "gift", "match": "contains", "pin": ["mug-3"]},
            {"query": "gifts for men", "pin": ["tv"]},
            {"query": "gift for men", "pin": ["mug-2"]},
        ],
    )
    assert found(shop, "Gifts for women")[0] == "mug-3"
    assert found(shop, "gifts for men")[0] == "tv", "it is named so"
    assert found(shop, "gift for men")[0] == "mug-2"


def test_of_two_who_edit_at_once_the_second_is_told(shop: TestClient, settings: Settings) -> None:
    tag = shop.get("/rules").headers["ETag"]
    first = {"synonyms": [{"words": ["telly"], "means": "television"}]}
    answer = shop.put("/rules", json=first, headers={"If-Match": tag})
    assert answer.status_code == 200
    assert answer.headers["ETag"] == shop.get("/rules").headers["ETag"] != tag
    check(shop.put("/rules", json={}, headers={"If-Match": tag}), 412, "version_mismatch")
    assert shop.get("/rules").json()["synonyms"] == first["synonyms"]

    rules.write_rules(settings.data_dir, Rules())  # another process
    check(shop.put("/rules", json={}, headers={"If-Match": answer.headers["ETag"]}), 412, "version_mismatch")
    assert shop.put("/rules", json={}, headers={"If-Match": f'"x", {tag}'}).status_code == 200
    assert shop.put("/rules", json=first, headers={"If-Match": "*"}).status_code == 200


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("tv", "television"),
        ("Black TV stand", "Black television stand"),
        ("flat screen tv", "television"),
        ("tvs", "tvs"),
        ("couch and tv", "sofa and television"),
        ("tv, black", "television black"),
        ("yahoo mug", "portal mug"),
        ("Couches for flat screens", "sofa for television"),
        ("settees", "bench"),
    ],
)
def test_whole_words_are_replaced_the_longest_first(query: str, meant: str) -> None:
    known = [
        {"words": ["TV", "flat screen", "flat screen TV"], "means": "television"},
        {"words": ["couch", "settee"], "means": "sofa"},
        {"words": ["settees"], "means": "bench"},
        {"words": ["Yahoo!"], "means": "portal"},
    ]
    assert Rules.model_validate({"synonyms": known}).meaning(query) == meant


@pytest.mark.parametrize("typed", ["men's mug", "Men’s mug", "menʼs mug"])
def test_rules_hold_however_their_apostrophes_are_typed(typed: str) -> None:
    for written in ("men's mug", "men’s mug"):
        known = {
            "synonyms": [{"words": [written], "means": "tankard"}],
            "curations": [{"query": written, "pin": ["a"]}],
        }
        rules = Rules.model_validate(known)
        assert rules.meaning(typed) == "tankard"
        assert rules.curation([typed], datetime.now(UTC)) == rules.curations[0]


def test_rules_for_each_apostrophe_are_read_still() -> None:
    twice = ["men's", "men’s"]
    pins = [{"query": query, "pin": [pin]} for query, pin in zip(twice, "ab", strict=True)]
    rules = Rules.model_validate({"synonyms": [{"words": twice, "means": "man"}], "curations": pins})
    assert rules.meaning("men’s mug") == "man mug"
    assert rules.curation(["men’s"], datetime.now(UTC)) == rules.curations[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"curations": [{"query": "mug"}]}, "says nothing"),
        ({"curations": [{"query": "mug", "pin": ["a"], "hide": ["a"]}]}, "pins and hides 'a'"),
        ({"curations": [{"query": "mug", "pin": ["a", "a"]}]}, "pins an item twice"),
        (
            {
                "curations": [
                    {
                        "query": "mug",
                        "pin": ["a"],
                        "starts_at": "2026-12-01T00:00:00Z",
                        "ends_at": "2026-12-02T00:00:00Z",
                    },
                    {"query": "Mug", "pin": ["a"], "ends_at": "2026-12-01T00:00:01Z"},
                ]
            },
            "curations name 'mug' twice for the same time",
        ),
        (
            {"curations": [{"query": "mug", "pin": ["a"], "starts_at": 86400, "ends_at": "1970-01-02T00:00:00Z"}]},
            "ends_at is not after starts_at",
        ),
        (
            {"curations": [{"query": "mug", "pin": ["a"], "starts_at": "2026-12-01T00:00:00"}]},
            "should have timezone info",
        ),
        (
            {"curations": [{"query": "mug", "pin": ["a"]}, {"query": "MUG ", "pin": ["b"]}]},
            "curations name 'mug' twice",
        ),
        ({"synonyms": [{"words": ["tv"], "means": "a"}, {"words": ["x", "TV"], "means": "b"}]}, "name 'tv' twice"),
        ({"synonyms": [{"words": [], "means": "a"}]}, "at least 1"),
        ({"pins": []}, "is no field that this takes"),
    ],
)
def test_rules_that_cannot_be_change_nothing(shop: TestClient, content: dict[str, Any], message: str) -> None:
    put(shop, curations=[{"query": "mug", "pin": ["tv"]}])
    refused = shop.put("/rules", json=content)
    check(refused, 422, "validation_failed")
    assert message in refused.text
    assert found(shop, "mug")[0] == "tv"


def test_rules_survive_the_process_and_are_given_as_they_were_put(settings: Settings) -> None:
    content = {"synonyms": [{"words": ["tv"], "means": "television"}], "curations": [], "boost": []}
    with TestClient(create_app(settings)) as client:
        assert client.get("/rules").json() == {"synonyms": [], "curations": [], "boost": []}
        put(client, **content)
    with TestClient(create_app(settings)) as client:
        assert client.get("/rules").json() == content


async def _come(book: RuleBook, content: Rules) -> None:
    """Follows the file until the rules are these."""
    following = asyncio.create_task(book.follow())
    await until(lambda: book.current() == content)
    following.cancel()


def test_the_rules_of_another_process_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rules, "_LOOK_EVERY", 0)
    content = Rules.model_validate({"curations": [{"query": "mug", "pin": ["a"]}]})

    async def main() -> None:
        one, other = RuleBook(tmp_path), RuleBook(tmp_path)
        await one.replace(content)
        await _come(other, content)
        following = asyncio.create_task(other.follow())
        for spoil, said in ((lambda path: path.write_text("{"), "holds no rules"), (_replace_by_folder, "directory")):
            caplog.clear()
            spoil(tmp_path / FILE)
            await until(lambda: bool(caplog.records))
            await asyncio.sleep(0.01)
            assert [said in one.getMessage() for one in caplog.records] == [True], "once, however often it is read"
            assert other.current() == content, "searches go on by what is known"
        (tmp_path / FILE).rmdir()
        await _come(other, Rules())
        following.cancel()

    asyncio.run(main())


def _replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def test_a_service_sees_the_rules_that_another_process_wrote(shop: TestClient, settings: Settings) -> None:
    rules.write_rules(settings.data_dir, Rules.model_validate({"curations": [{"query": "mug", "pin": ["tv"]}]}))
    asyncio.run(until(lambda: found(shop, "mug")[0] == "tv"))


def test_a_disk_that_does_not_answer_holds_up_no_search(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "_LOOK_EVERY", 0.01)
    looked, answers, read = threading.Event(), threading.Event(), rules.read_rules

    def stalled(folder: Path) -> Rules:
        looked.set()
        answers.wait(60)
        return read(folder)

    with TestClient(create_app(settings)) as client, ThreadPoolExecutor() as pool:
        monkeypatch.setattr(rules, "read_rules", stalled)
        content = Rules.model_validate({"synonyms": [{"words": ["telly"], "means": "television"}]})
        rules.write_rules(settings.data_dir, content)
        try:
            searches = [pool.submit(found, client, "telly")]
            assert looked.wait(30)
            searches.append(pool.submit(found, client, "telly"))
            assert [search.result(timeout=30) for search in searches] == [[], []]
            assert client.get("/rules").json()["synonyms"] == []
        finally:
            answers.set()


def test_the_rules_of_another_process_that_wrote_right_after_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "_LOOK_EVERY", 0)
    ours = Rules.model_validate({"curations": [{"query": "mug", "pin": ["a"]}]})
    theirs = Rules.model_validate({"curations": [{"query": "mug", "pin": ["b"]}]})
    write = rules.write_rules

    def overtaken(folder: Path, content: Rules) -> None:
        write(folder, content)
        write(folder, theirs)

    async def main() -> None:
        book = RuleBook(tmp_path)
        await book.replace(ours)
        await _come(book, theirs)

    monkeypatch.setattr(rules, "write_rules", overtaken)
    asyncio.run(main())


def test_a_damaged_file_stops_the_start(settings: Settings) -> None:
    settings.data_dir.mkdir()
    (settings.data_dir / FILE).write_text("{")
    with (
        pytest.raises(StartupFailed, match=r"holds no rules: repair it, or move it away .* Invalid JSON: [^\[]*$"),
        TestClient(create_app(settings)),
    ):
        pass


def test_a_disk_that_takes_nothing_leaves_the_rules_as_they_were(
    shop: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    put(shop, curations=[{"query": "mug", "pin": ["tv"]}])
    monkeypatch.setattr(rules, "write_whole", full)
    check(shop.put("/rules", json={}), 507, "storage_failed")
    assert found(shop, "mug")[0] == "tv"
