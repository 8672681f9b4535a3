"""Step 2: every text that is not English yet, into English. The seed used `qwen-mt-flash`."""

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from training.prepare.answers import Answers, key_of
from training.prepare.endpoint import Endpoint
from training.prepare.job import Job
from training.prepare.paid import Estimate, estimate, run
from training.prepare.settings import EndpointSettings

LONGEST = 1000  # characters of a description that are translated; training reads its first sentences
_PROMPT = (
    "Translate this text of an online shop from {language} into English. Answer with the translation alone, without "
    "quotes or remarks. Keep brands, numbers and sizes."
)


def has_foreign_letters(text: str) -> bool:
    """Whether a text has letters of another script than Latin."""
    return any(char.isalpha() and not unicodedata.name(char, "").startswith(_LATIN) for char in text)


_LATIN = ("LATIN", "FULLWIDTH LATIN", "MODIFIER", "FEMININE", "MASCULINE", "MICRO")


def question(text: str, model: str, language: str) -> tuple[str, Sequence[Any], dict[str, Any]]:
    """Key, messages and extra fields. Qwen's translators take a bare text and options; other models take words."""
    if re.match(r"qwen-mt", model):
        extra = {"translation_options": {"source_lang": language, "target_lang": "English"}}
        return key_of("translate", model, language, text), [{"role": "user", "content": text}], extra
    prompt = _PROMPT.format(language="its language" if language == "auto" else language)
    messages = [{"role": "system", "content": prompt}, {"role": "user", "content": text}]
    return key_of("translate", model, prompt, text), messages, {}


def texts(job: Job, language: str) -> Iterator[str]:
    """What needs translating, once each by row: queries, and each text of an item."""
    for (text,) in job.pages("queries", "text"):
        if _wanted(text, language):
            yield text.strip()
    for (encoded,) in job.pages("pairs", "texts", "texts != '[]'"):
        yield from (text.strip() for text in json.loads(encoded) if _wanted(text, language))
    for (encoded,) in job.pages("items", "fields"):
        yield from (text.strip()[:LONGEST] for text in _strings(json.loads(encoded)) if _wanted(text, language))


def _wanted(text: str, language: str) -> bool:
    return bool(text.strip()) and (language != "auto" or has_foreign_letters(text))


def _strings(fields: dict[str, Any]) -> Iterator[str]:
    """Every text of an item, its attributes' names among them."""
    attributes = fields.get("attributes") or {}
    for value in (fields.get("title"), fields.get("description"), fields.get("category"), *attributes.items()):
        yield from (one for one in (value if isinstance(value, list | tuple) else [value]) if isinstance(one, str))


def price(job: Job, settings: EndpointSettings, answers: Answers, language: str, limit: int | None = None) -> Estimate:
    """What `translate` would ask. Raises JobError where the job has not been read."""
    job.check("translate")

    def questions() -> Iterator[tuple[str, int, int]]:
        for n, text in enumerate(texts(job, language)):
            if limit is not None and n >= limit:
                return
            # About a token for each character that is not Latin, one for four others, and 45 around them.
            tokens = sum(1.0 if ord(char) > 0x2E7F else 0.25 for char in text)
            yield question(text, settings.translate_model, language)[0], round(tokens) + 45, round(tokens) + 2

    return estimate("translate", settings.translate_model, settings.translate_price, questions(), answers)


def translate(
    job: Job, settings: EndpointSettings, answers: Answers, language: str = "auto", limit: int | None = None
) -> None:
    """Fill the job's translations.

    Raises:
        JobError: the job has not been read.
        EndpointError: no more can be asked; what was answered is kept.
    """
    job.begin("translate")

    async def work(endpoint: Endpoint, text: str) -> tuple[str, str | None, str]:
        key, messages, extra = question(text, settings.translate_model, language)
        answer = await endpoint.ask(key, settings.translate_model, lambda: messages, extra)
        if answer.refused:
            return text, None, answer.content
        return text, answer.content.strip() or None, "the answer is empty"

    total = sum(1 for _ in texts(job, language))
    for text, english, reason in run("translate", texts(job, language), total, settings, answers, work, limit):
        if english is None:
            job.drop("translate", "not_translated", "text", text, reason)
        # An empty translation is dropped when it is cleaned, with whatever it belongs to.
        job.write("INSERT OR REPLACE INTO english VALUES (?, ?)", text, english or "")
    job.done("translate")
