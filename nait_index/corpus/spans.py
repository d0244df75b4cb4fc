"""Where the answers of a row lie in the text that a template renders of it: what fine-tuning learns to write."""

from collections.abc import Iterator, Sequence

from nait_index.types import Part, Role, Span


def answer_spans(text: str, parts: Sequence[Part]) -> tuple[Span, ...]:
    """Find the answers in a rendered text, in characters.

    Templates may strip a part or leave out its reasoning, so a part that does not occur verbatim is searched for in
    those forms. The whole text counts as an answer where nothing was asked, as in a row of plain text, and where no
    answer can be located, as when a template rewrites it.
    """
    cursor, spans = 0, []
    for part in parts:
        forms = ((text.find(form, cursor), len(form)) for form in _forms(part))
        start, length = next((place for place in forms if place[0] >= 0), (-1, 0))
        if start < 0:
            continue
        cursor = start + length
        if part.role is Role.ASSISTANT:
            spans.append((start, cursor))
    asked = any(part.role not in (Role.ASSISTANT, Role.TEXT) for part in parts)
    return tuple(spans) if asked and spans else ((0, len(text)),)


def _forms(part: Part) -> Iterator[str]:
    """Yield the forms in which a template may write a part."""
    yield from dict.fromkeys(form for form in (part.text, part.text.strip(), part.answer.strip()) if form)
