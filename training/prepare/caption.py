"""Step 3: what each picture shows, in English. The seed used `qwen3-vl-32b-instruct`.

Three captions for a training picture, of which a training step draws one; one for a picture that the source says is
for validation.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from training.prepare.answers import Answers, key_of
from training.prepare.endpoint import Endpoint
from training.prepare.job import Job
from training.prepare.paid import Estimate, estimate, run
from training.prepare.pictures import SENT_SIDE, data_url
from training.prepare.rules import is_refusal
from training.prepare.settings import EndpointSettings

ATTEMPTS = 3  # how often a model is asked again that answers in another form than it was asked for
_PROMPT = (
    "This picture shows a product of an online shop. Describe the product in English for a search engine: what it is, "
    "its colours, pattern, material and shape, and words printed on it; nothing that the picture does not show. Answer "
    'with JSON alone, of the form {{"captions": [{places}]}}: exactly {count} of them, each worded differently, each '
    "of 5 to 15 words."
)
_FENCE = re.compile(r"^\s*```[a-z]*\s*|\s*```\s*$")


class BadAnswer(ValueError):
    """The model answered in another form than it was asked for; `rule` names what is wrong."""

    def __init__(self, rule: str, detail: str, captions: list[str]) -> None:
        super().__init__(detail)
        self.rule, self.captions = rule, captions


@dataclass(frozen=True)
class Described:
    """What became of one picture."""

    item_id: str
    captions: list[str]
    problem: tuple[str, str] | None  # rule and detail
    dropped: bool


def parse(content: str, count: int) -> list[str]:
    """The captions of an answer, `count` of them.

    Raises:
        BadAnswer: `empty_answer`, `broken_json`, `missing_field`, `too_few_captions` (with those there are).
    """
    text = _FENCE.sub("", content.strip())
    if not text:
        raise BadAnswer("empty_answer", "the answer is empty", [])
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadAnswer("broken_json", f"{error}: {text[:200]}", []) from error
    found = value.get("captions") if isinstance(value, dict) else value
    if not isinstance(found, list):
        raise BadAnswer("missing_field", f"captions is missing or no list: {text[:200]}", [])
    captions = [one.strip() for one in found if isinstance(one, str) and one.strip()]
    captions = list(dict.fromkeys(captions))
    if len(captions) < count:
        raise BadAnswer("too_few_captions", f"{len(captions)} of {count}: {text[:200]}", captions)
    return captions[:count]


def rows(job: Job, count: int) -> Iterator[tuple[str, str, int, int, int]]:
    """Item, file, width, height and number of captions to ask for, of every item with a picture."""
    columns = "item_id, picture, width, height, split"
    for item_id, picture, width, height, split in job.pages("items", columns, "picture IS NOT NULL"):
        yield item_id, picture, width, height, 1 if split == "valid" else count


def _prompt(count: int) -> str:
    return _PROMPT.format(count=count, places=", ".join(['"…"'] * count))


def _key(model: str, prompt: str, content: bytes, attempt: int) -> str:
    return key_of("caption", model, prompt, hashlib.sha256(content).hexdigest(), attempt)


def price(job: Job, settings: EndpointSettings, answers: Answers, count: int, limit: int | None = None) -> Estimate:
    """What `caption` would ask. Raises JobError where the job has not been read."""
    job.check("caption")

    def questions() -> Iterator[tuple[str, int, int]]:
        for n, (_, picture, width, height, wanted) in enumerate(rows(job, count)):
            if limit is not None and n >= limit:
                return
            content = (job.pictures / picture).read_bytes()
            scale = min(1.0, SENT_SIDE / max(width, height))
            patches = max(4, round(width * scale / 32) * round(height * scale / 32))  # Qwen3-VL: a token for 32 × 32
            key = _key(settings.caption_model, _prompt(wanted), content, 0)
            yield key, patches + 120, 10 + 25 * wanted

    return estimate("caption", settings.caption_model, settings.caption_price, questions(), answers)


def caption(job: Job, settings: EndpointSettings, answers: Answers, count: int = 3, limit: int | None = None) -> None:
    """Fill the job's captions.

    Raises:
        JobError: the job has not been read.
        EndpointError: no more can be asked; what was answered is kept.
    """
    job.begin("caption")

    async def work(endpoint: Endpoint, row: tuple[str, str, int, int, int]) -> Described:
        item_id, picture, _, _, wanted = row
        content = (job.pictures / picture).read_bytes()
        prompt = _prompt(wanted)

        def messages() -> list[Any]:
            shown = {"type": "image_url", "image_url": {"url": data_url(content)}}
            return [{"role": "user", "content": [shown, {"type": "text", "text": prompt}]}]

        best: BadAnswer | None = None
        for attempt in range(ATTEMPTS):
            key = _key(settings.caption_model, prompt, content, attempt)
            answer = await endpoint.ask(key, settings.caption_model, messages)
            if answer.refused or is_refusal(answer.content):
                return Described(item_id, [], ("refused_picture", answer.content), dropped=True)
            try:
                return Described(item_id, parse(answer.content, wanted), None, dropped=False)
            except BadAnswer as error:
                best = error if best is None or len(error.captions) > len(best.captions) else best
        assert best is not None
        return Described(item_id, best.captions, (best.rule, str(best)), dropped=not best.captions)

    total = job.one("SELECT COUNT(*) FROM items WHERE picture IS NOT NULL")
    for one in run("caption", rows(job, count), total, settings, answers, work, limit):
        if one.problem is not None:
            rule, detail = one.problem
            if one.dropped:
                job.drop("caption", rule, "picture", one.item_id, detail)
            else:
                job.change("caption", rule, one.item_id, detail)
        job.write(
            "INSERT OR REPLACE INTO captions VALUES (?, ?)", one.item_id, json.dumps(one.captions, ensure_ascii=False)
        )
    job.done("caption")
