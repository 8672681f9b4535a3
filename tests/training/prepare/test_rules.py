"""The cleaning rules on the cases that the seed names."""

import pytest

from training.prepare import rules
from training.prepare.rules import clean_text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Christmas pillow", "Christmas pillow"),
        ("红色 red 杯子 mug", "red mug"),
        ("Nike 耐克 running shoes", "Nike running shoes"),
        ("cotton（100%）shirt，blue；size：M！", "cotton(100%)shirt,blue;size:M!"),
        ("ＬＥＤ　ｌａｍｐ　１２Ｖ", "LED lamp 12V"),
        ("“smart” – lamp…", '"smart" - lamp...'),
        ("“Red mug.”", "Red mug."),
        ("red mug 🔥🔥 sale ☕️", "red mug sale"),
        ("family 👨‍👩‍👧 mug", "family mug"),
        ("crème brûlée café", "creme brulee cafe"),
        ("mug (红色) blue", "mug blue"),
        ("  red \n\t mug ", "red mug"),
        ("iPhone 14", "iPhone 14"),
        ("5090", "5090"),
        ("3 × 4 cm", "3 x 4 cm"),
        ("", None),
        ("   ", None),
        ("🔥🔥", None),
        ("、。！", None),
        ("红色杯子", None),
        ("苹果 12", None),
        ("красная кружка", None),
        ("I'm sorry, but I can't describe this picture.", None),
    ],
)
def test_cases(text: str, cleaned: str | None) -> None:
    assert clean_text(text).text == cleaned


@pytest.mark.parametrize(
    ("text", "rule"),
    [("", "empty"), ("🔥", "empty"), ("红色杯子 A", "foreign"), ("红色", "foreign"), ("Sorry, I cannot.", "refusal")],
)
def test_a_dropped_text_names_its_rule(text: str, rule: str) -> None:
    assert clean_text(text).dropped == rule


def test_a_changed_text_names_its_rules() -> None:
    changes = [rule for rule, _, _ in clean_text("ｒｅｄ mug 🔥 brand 耐克").changes]
    assert changes == ["full_width", "emoji", "not_english"]
    assert clean_text("red mug").changes == []


@pytest.mark.parametrize("rule", rules.CHANGING)
def test_a_rule_has_nothing_to_do_twice(rule: object) -> None:
    assert callable(rule)
    for text in ("cotton（100%），blue", "🔥 hot () , ,", "crème", "红色 mug, , [ ] !"):
        once = rule(text)
        assert " ".join(rule(once).split()) == " ".join(once.split())


def test_what_is_clean_is_ascii_and_stays() -> None:
    for text in ("ＬＥＤ　lamp «été» 12V 灯", "Größe: M – naïve ☕", "a，b。c"):
        once = clean_text(text).text
        assert once is not None
        assert once.isascii()
        assert clean_text(once).text == once
