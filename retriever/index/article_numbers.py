"""Which items a query names by their article number, as far as the catalogue knows any."""

import re
from collections.abc import Awaitable, Callable

from retriever.index import lexical
from retriever.index.fields import WORDS_KEY
from retriever.index.filters import AnyOf, Condition, word_for_word

FEW = 8  # items that have an article number; what more of them have, "330 ml" or "size 12", is none

Count = Callable[[Condition], Awaitable[int]]  # how many items a condition lets through


async def resolve(text: str, count: Count) -> tuple[str, Condition | None]:
    """A query without the article numbers that no item has, and a condition for the few items that it names by theirs.

    A number that no item has would decide in place of the other words. Figures alone beside it are a part of it,
    "xk9921 03", and go with it. A query names items whose number it is as a whole: "TAN 215", "1639C Black", or one
    word of theirs, "FMJN 4385" of FMJN4385. The condition is None where no item has that, or where many have.
    """
    known = text = lexical.normal(text)
    if named := await _named(text, count):
        return text, named
    for code, numbers in lexical.codes(text).items():
        if numbers and not await count(AnyOf(WORDS_KEY, numbers)):
            known = re.sub(rf"(?<![\w-]){re.escape(code)}(?![\w-])", " ", known)  # not where it is part of another
    figures = known != text and lexical.has_code(known) and not lexical.codes(known)
    known = "" if figures else " ".join(known.split())
    return known, None if known == text else await _named(known, count)


async def _named(text: str, count: Count) -> Condition | None:
    for form in (text, "".join(text.split())) if lexical.may_name(text) else ():
        if (condition := word_for_word(form)) and (having := await count(condition)):
            return condition if having <= FEW else None
    return None
