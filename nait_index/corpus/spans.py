"""Where the answers of a row lie in the text that a template renders of it: what fine-tuning learns to write."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from nait_index.corpus.reasoning import inlined
from nait_index.errors import TemplateError
from nait_index.types import Part, Role, Span

Render = Callable[[Sequence[Part]], str]


def answer_spans(text: str, parts: Sequence[Part], render: Render | None = None) -> tuple[Span, ...]:
    """Find the answers in a rendered text, in characters.

    Templates may strip a part or leave out its reasoning, so a part that does not occur verbatim is searched for in
    those forms. The whole text counts as an answer where nothing was asked, as in a row of plain text, and where no
    answer can be located, as when a template rewrites it.

    :param render: the template; it renders the row once more where an answer occurs several times in the text, such as
        ``a``, which is also in the mark before it.
    """
    marked = {} if render is None else _marked_places(text, parts, render)
    cursor, spans = 0, []
    for number, part in enumerate(parts):
        span = marked[number] if number in marked else _found(text, part, cursor)
        if span is None:
            continue
        cursor = span[1]
        if part.role is Role.ASSISTANT:
            spans.append(span)
    asked = any(part.role not in (Role.ASSISTANT, Role.TEXT) for part in parts)
    return tuple(spans) if asked and spans else ((0, len(text)),)


def _found(text: str, part: Part, cursor: int) -> Span | None:
    places = ((text.find(form, cursor), len(form)) for form in _forms(part))
    return next(((start, start + length) for start, length in places if start >= 0), None)


def _forms(part: Part) -> Iterator[str]:
    """Yield the forms in which a template may write a part."""
    yield from dict.fromkeys(form for form in (part.text, part.text.strip(), part.answer.strip()) if form)


def _marked_places(text: str, parts: Sequence[Part], render: Render) -> Mapping[int, Span | None]:
    """Return the places of the answers that occur several times, each by its part's number.

    In another rendering, words that occur nowhere stand for them. An answer that the template leaves out has no place;
    where the rest is not rendered in the same way, nothing is known.
    """
    numbers = [number for number, part in enumerate(parts) if part.role is Role.ASSISTANT and _recurs(text, part)]
    if not numbers:
        return {}
    word = "answer"
    while word in text:
        word += "x"
    marks = {number: f"{word}{number}z" for number in numbers}
    try:
        rendered = render([_with_answer(part, marks.get(number)) for number, part in enumerate(parts)])
    except TemplateError:
        return {}
    places: dict[int, Span | None] = dict.fromkeys(numbers)
    cursor = position = 0
    for start, number in sorted((rendered.find(mark), number) for number, mark in marks.items() if mark in rendered):
        before = rendered[cursor:start]
        begin = position + len(before)
        answer = _answer(parts[number])
        form = next((form for form in (answer, answer.strip()) if text.startswith(form, begin)), None)
        if form is None or text[position:begin] != before:
            return {}
        cursor, position = start + len(marks[number]), begin + len(form)
        places[number] = begin, position
    return places if text[position:] == rendered[cursor:] else {}


def _recurs(text: str, part: Part) -> bool:
    """Return whether an answer occurs several times in a text; with its reasoning, it is taken to be found at once."""
    answer = _answer(part).strip()
    return answer != "" and text.count(answer) > 1 and not (part.answer and part.text.strip() in text)


def _answer(part: Part) -> str:
    """Return an answer without reasoning from a field."""
    return part.answer or part.text


def _with_answer(part: Part, answer: str | None) -> Part:
    if answer is None:
        return part
    return replace(part, text=inlined(part.reasoning, answer), answer=answer if part.answer else "")
