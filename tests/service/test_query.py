"""What a shopper typed, taken apart; misspelt words; suggestions; highlights. No service needed."""

import pytest

from service.highlight import highlighted, matched
from service.lexicon import Lexicon
from service.query import parse
from service.suggest import Suggester, Suggestion
from service.vocabulary import Vocabulary


@pytest.mark.parametrize(
    ("typed", "text", "phrases", "excluded"),
    [
        ("red mug", "red mug", (), ()),
        ("shoes -leather", "shoes", (), ("leather",)),
        ("-leather shoes -Black", "shoes", (), ("leather", "Black")),
        ('"round neck" shirt', "round neck shirt", ("round neck",), ()),
        ('bag -"faux leather"', "bag", (), ("faux leather",)),
        ("t-shirt 3-5 years", "t-shirt 3-5 years", (), ()),
        ("3 - 5 years", "3 - 5 years", (), ()),
        ("424522-100", "424522-100", (), ()),
        ("-20 degrees", "-20 degrees", (), ()),
        ('5" nails', '5" nails', (), ()),
        ("“round neck” shirt", "round neck shirt", ("round neck",), ()),
        ("«wall clock» -„baby boy“", "wall clock", ("wall clock",), ("baby boy",)),
        ('say "', 'say "', (), ()),
        ("-leather", "", (), ("leather",)),
        ("红色 -皮革", "红色", (), ("皮革",)),
        ("red mug.", "red mug", (), ()),
        ("Where is my mug ?!", "Where is my mug", (), ()),
        ("红色杯子。", "红色杯子", (), ()),
        ('"round neck".', "round neck", ("round neck",), ()),
        ("shirt -red.", "shirt", (), ("red",)),
        ('tv 5.5"', 'tv 5.5"', (), ()),
        ("424522-100.", "424522-100", (), ()),
        ("mug (300 ml)", "mug (300 ml)", (), ()),
        ("?!…", "", (), ()),
        ("mens watch not black", "mens watch", (), ("black",)),
        ("shoes, but not nike.", "shoes", (), ("nike",)),
        ("Shoes EXCEPT t-strap", "Shoes", (), ("t-strap",)),
        ("not black", "not black", (), ()),
        ("shirt -s.oliver", "shirt", (), ("s.oliver",)),
        ("-U.S.polo, shirt", "shirt", (), ("U.S.polo",)),
        ("shoe -black/white -brand:nike", "shoe", (), ("black/white", "brand:nike")),
        ("watch -men's", "watch", (), ("men's",)),
        ("watch -7085YL01", "watch", (), ("7085YL01",)),
        ("pen drive -16gb usb", "pen drive usb", (), ("16gb",)),
        ("shirt not s.oliver", "shirt", (), ("s.oliver",)),
        ("watch not 7085YL01.", "watch", (), ("7085YL01",)),
        ("kurta -(Pack of 2)", "kurta -(Pack of 2)", (), ()),
        ("men’s ‘oxford’ -boyʼs", "men's 'oxford'", (), ("boy's",)),
        ("take 5 not 6", "take 5 not 6", (), ()),
        ("watch not black leather", "watch not black leather", (), ()),
        ("shampoo without sulfate", "shampoo without sulfate", (), ()),
        ('a book "or not to"', "a book or not to", ("or not to",), ()),
        ("ｒｅｄ　ｍｕｇ！ －ｐｌａｓｔｉｃ", "red mug", (), ("plastic",)),
    ],
)
def test_a_query_is_taken_apart(typed: str, text: str, phrases: tuple[str, ...], excluded: tuple[str, ...]) -> None:
    for parsed in (parse(typed), parse(str(parse(typed)))):
        assert (parsed.text, parsed.phrases, parsed.excluded) == (text, phrases, excluded)


def test_a_title_is_taken_as_it_is() -> None:
    parsed = parse('Diaper "Soft" Small -Blue', ["red"], is_title=True)
    assert (parsed.text, parsed.phrases, parsed.excluded) == ('Diaper "Soft" Small -Blue', (), ("red",))


def test_a_list_of_what_is_not_wanted_joins_the_minus_words() -> None:
    assert parse("bag -red", ["leather", "red", " "]).excluded == ("red", "leather")
    assert parse("bag").condition() is None
    assert parse("bag -the").condition() is None, "a word that says nothing cannot be looked for"


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    vocabulary = Vocabulary()
    vocabulary.learn("Adidas running shoes. Kurta by Nordlys. Tschüß")
    return vocabulary


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("adiddas runing sheos", "adidas running shoes"),
        ("grean dress", "green dress"),
        ("nordlis kurta", "nordlys kurta"),
        ("kurtas", "kurtas"),
        ("mug", "mug"),
        ("AB12X-77 xqzzvw", "AB12X-77 xqzzvw"),
        ("红色 杯子 قميص", "红色 杯子 قميص"),
        ("Tschuß", "tschüss"),
        ("", ""),
    ],
)
def test_misspelt_words_are_corrected_and_others_left(vocabulary: Vocabulary, typed: str, meant: str) -> None:
    assert vocabulary.correct(typed) == meant


def test_of_words_as_near_the_one_that_the_shop_sells_is_meant() -> None:
    vocabulary = Vocabulary()
    vocabulary.learn("Jack of hearts", "to go back")
    for _ in range(3):
        vocabulary.learn("Black jacket")
    assert vocabulary.correct("balck jackt") == "black jacket"


def test_only_an_english_shop_is_corrected_to_english() -> None:
    vocabulary = Vocabulary()
    vocabulary.learn("Blaue Stiefel, Kleid aus Leinen, Socken gestreift, İpek Gömlek")
    assert vocabulary.correct("schuhe hemd ipek") == "schuhe hemd ipek"
    assert vocabulary.correct("sokken gemlek") == "socken gömlek"


def test_words_of_products_that_are_gone_complete_nothing() -> None:
    vocabulary = Vocabulary()
    vocabulary.learn("Strombus lamp")
    for _ in range(2):  # a new stock, a new price
        vocabulary.learn("Stroller", "for two")
        vocabulary.forget("Stroller", "for two")
    assert vocabulary.complete("stro") == "strombus"
    assert vocabulary.complete("stroll") == "stroll"
    assert vocabulary.correct("stroller") == "stroller", "and are no mistakes"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("striped umbr", "striped umbrella"),
        ("UMBRELLA", "UMBRELLA"),  # whole
        ("zzz", "zzz"),
        ("u", "u"),  # one letter says too little
        ("umbr ", "umbr "),  # finished, with a space
        ("shirts in c", "shirts in c"),
        ("", ""),
        ("mug 12", "mug 12"),
        ("t-um", "t-um"),  # "t-umbrella" is nothing
    ],
)
def test_the_last_word_is_completed(vocabulary: Vocabulary, typed: str, meant: str) -> None:
    vocabulary.learn("A striped umbrella")
    assert vocabulary.complete(typed) == meant


def test_the_most_common_completion_wins(vocabulary: Vocabulary) -> None:
    for text in ("shrewd", "shroud", "a shroud"):
        vocabulary.learn(text)
    assert vocabulary.complete("shr") == "shroud"


@pytest.mark.parametrize("code", ["ABCD1234", "WRTS2404", "lmtz-00478", "stonware2"])
def test_article_numbers_are_never_corrected(vocabulary: Vocabulary, code: str) -> None:
    assert vocabulary.correct(code) == code


def texts(suggester: Suggester, typed: str, limit: int = 5) -> list[str]:
    return [one.text for one in suggester.suggest(typed, limit)]


@pytest.fixture
def suggester() -> Suggester:
    suggester = Suggester()
    titles = ["Stoneware Mug", "Enamel Mug", "Striped Umbrella"]
    suggester.add([Suggestion(title, "title") for title in titles])
    suggester.add([Suggestion(" stoneware", "attribute")] * 3)
    return suggester


def test_any_word_of_a_phrase_may_begin_it(suggester: Suggester) -> None:
    assert texts(suggester, "MU") == ["Enamel Mug", "Stoneware Mug"]
    assert texts(suggester, "st") == ["stoneware", "Stoneware Mug", "Striped Umbrella"]
    assert texts(suggester, "stoneware m") == ["Stoneware Mug"]
    assert texts(suggester, "st", limit=1) == ["stoneware"]
    assert texts(suggester, "") == texts(suggester, "zz") == []


@pytest.mark.parametrize("typed", ["stnoe", "stonewere", "stoneewar", "sroneware m", "umbrela", "strped"])
def test_one_mistyped_letter_is_forgiven(suggester: Suggester, typed: str) -> None:
    assert texts(suggester, typed)


@pytest.mark.parametrize("typed", ["mug stone", "stoneware's mu", "mug s"])
def test_words_may_come_in_any_order(suggester: Suggester, typed: str) -> None:
    assert texts(suggester, typed) == ["Stoneware Mug"]


def test_no_digit_is_taken_for_another(suggester: Suggester) -> None:
    suggester.add([Suggestion("Tray 50 cm", "title")])
    assert texts(suggester, "50") == ["Tray 50 cm"]
    assert texts(suggester, "500") == []


def test_values_that_say_nothing_without_their_field_are_not_suggested() -> None:
    lexicon = Lexicon()
    attributes = {"washable": "Yes", "warranty": "None", "fabric": "Yak wool"}
    lexicon.learn({"title": "Scarf", "description": "", "category": [], "attributes": attributes})
    assert [one.text for one in lexicon.suggester.suggest("y", 9)] == ["Yak wool"]
    assert lexicon.suggester.suggest("no", 9) == []


def test_what_no_item_has_any_more_is_gone(suggester: Suggester) -> None:
    suggester.remove([Suggestion("Enamel Mug", "title"), Suggestion("stoneware", "attribute")])
    suggester.remove([Suggestion("never there", "title")])
    assert texts(suggester, "mug") == ["Stoneware Mug"]
    assert texts(suggester, "stone") == ["stoneware", "Stoneware Mug"], "two items have the material still"


def test_a_query_is_suggested_when_it_comes_again(suggester: Suggester) -> None:
    suggester.searched("mug for my wife")
    assert "mug for my wife" not in texts(suggester, "mug")
    suggester.searched("Mug for  my wife")
    assert suggester.suggest("mug", 1) == [Suggestion("mug for my wife", "query")]


def test_a_title_that_was_searched_for_goes_with_its_item(suggester: Suggester) -> None:
    for _ in range(3):
        suggester.searched("enamel mug")
    assert suggester.suggest("ena", 1) == [Suggestion("Enamel Mug", "title")]
    suggester.remove([Suggestion("Enamel Mug", "title")])
    assert suggester.suggest("ena", 1) == [Suggestion("enamel mug", "query")]


def test_past_queries_are_forgotten_in_the_end(suggester: Suggester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.suggest._QUERIES", 10)
    suggester.searched("enamel mug")
    for n in range(100):
        suggester.searched(f"mug {n}")
        suggester.searched(f"mug {n}")
    suggester.searched("mug 99")
    assert len(suggester) < 20
    assert "mug 99" in texts(suggester, "mug", limit=20)
    assert texts(suggester, "enamel") == ["Enamel Mug"], "it is a title still"


def test_only_queries_in_the_catalogues_words_are_suggested() -> None:
    """What a visitor types is shown to others: neither their names nor what they think of the shop."""
    lexicon = Lexicon()
    lexicon.learn({"title": "Red mug", "description": "A gift for men.", "category": [], "attributes": {}})
    for query in ("gift for men", "mug by eve@shop.example", "red mug of a scam", "red mug 4711", "red mug 42"):
        lexicon.searched(query)
        lexicon.searched(query)
    suggested = [one.text for typed in ("gift", "mug", "red") for one in lexicon.suggester.suggest(typed, 9)]
    assert set(suggested) == {"gift for men", "Red mug"}


def test_words_are_marked_in_every_form() -> None:
    assert highlighted("men's shirt", "Boy's shirt for Men") == "Boy&#x27;s <mark>shirt</mark> for <mark>Men</mark>"
    assert matched("men's shirt", "Boy's shirt") == ["shirt"]
    assert highlighted("16gb", "16 GB stick") == "<mark>16</mark> <mark>GB</mark> stick"
    assert highlighted("mugs red", "A red Mug & more") == "A <mark>red</mark> <mark>Mug</mark> &amp; more"
    assert highlighted("<b>", "<b>bold</b>") == "&lt;<mark>b</mark>&gt;bold&lt;/<mark>b</mark>&gt;"
    assert highlighted("the", "the mug") == "the mug"
    assert matched("red mugs for him", "mug") == ["mugs"]
    assert matched("watch plo166", "PLO 166") == ["plo166"]


@pytest.mark.parametrize(
    ("query", "text", "marked"),
    [
        ("绿", "红色绿茶杯", "红色<mark>绿</mark>茶杯"),
        ("绿茶 手机", "红色绿茶杯 iPhone手机", "红色<mark>绿茶</mark>杯 iPhone<mark>手机</mark>"),
        ("iphone", "iPhone手机", "<mark>iPhone</mark>手机"),
        ("cafe", "Cafe\u0301 mug", "<mark>Cafe\u0301</mark> mug"),
        ("साड़ी", "लाल साड़ी", "लाल <mark>साड़ी</mark>"),
    ],
)
def test_marks_begin_and_end_where_words_do(query: str, text: str, marked: str) -> None:
    assert highlighted(query, text) == marked
