"""Parts -> the text that the model reads.

Every template refuses rows that it cannot render completely. Its hash covers everything the text depends on, except the
row and the tokenizer's special tokens.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from nait_index.corpus.losses import left_out
from nait_index.corpus.reasoning import FIELDS
from nait_index.corpus.spans import answer_spans
from nait_index.errors import TemplateError, one_line
from nait_index.files import hash_bytes
from nait_index.spelling import did_you_mean
from nait_index.types import MarkedText, Part, Role

_ALPACA = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{user}\n\n### Response:{assistant}"
)
_ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{user}\n\n### Input:\n{input}\n\n### Response:{assistant}"
)
_ALPACA_ROLES = (Role.USER, Role.INPUT, Role.ASSISTANT)
_MESSAGE_ROLES = {Role.TOOLS: "system", Role.INPUT: "user", Role.TEXT: "user"}
# Some models' templates print today's date. Queries of later days would then differ from the rows, so the clock is
# stopped, at the date these templates print if there is no clock.
_STOPPED_CLOCK = (
    "{%- macro strftime_now(format) -%}{{ format"
    "|replace('%d', '26')|replace('%m', '07')|replace('%b', 'Jul')|replace('%B', 'July')|replace('%Y', '2024')"
    "|replace('%H', '00')|replace('%M', '00')|replace('%S', '00') }}{%- endmacro -%}"
)


Messages = list[dict[str, Any]]
"""A conversation as chat templates take it."""

_PROBES: Messages = [
    {"role": "user", "content": "Which river is it?"},
    {"role": "assistant", "content": "It must be the Ural."},
]
_PROBE_PARTS = [Part(Role(message["role"]), message["content"]) for message in _PROBES]
_PROBE_REASONING = "It flows south."
_LISTED = ((), ("system", "user", "tool"), ("assistant",), ("system", "user", "tool", "assistant"))
"""Roles whose content may have to be a list, in the order in which that is tried."""


def plain_text(parts: Sequence[Part]) -> str:
    """Join the parts with newlines: a sample's text when no model reads it."""
    return "\n".join(part.text for part in parts)


def asked_text(parts: Sequence[Part]) -> str:
    """Join the user's parts with newlines; all parts if there are none of the user."""
    return plain_text([part for part in parts if part.role in (Role.USER, Role.INPUT)] or parts)


class TemplateName(StrEnum):
    """The templates that have a name; any other is the path of a Jinja file."""

    AUTO = "auto"
    ALPACA = "alpaca"
    CHAT = "chat"
    TEXT = "text"


class RowTemplateError(TemplateError):
    """A template cannot render this row; the message is the reason."""


@dataclass(frozen=True, slots=True)
class ReadText:
    """The text that a model reads of a row.

    :param marked: the text with the spans of its answers.
    :param left_out: the kinds of parts that are not in it, such as ``tool turns``.
    """

    marked: MarkedText
    left_out: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The text alone."""
        return self.marked.text


@dataclass(frozen=True, slots=True)
class Template:
    """How the parts of a sample become its text.

    :param render: returns the text of some parts, or raises :class:`RowTemplateError` if it cannot render them.
    :param content_hash: of the kind of template and of its text, 32 hex digits.
    :param adds_special_tokens: whether the tokenizer must add its special tokens, since the text does not contain them.
    :param label: what it is called in messages. :param is_whole: whether it cannot leave out anything.
    """

    render: Callable[[Sequence[Part]], str]
    content_hash: str
    adds_special_tokens: bool = True
    label: str = "the template"
    is_whole: bool = True

    def read(self, parts: Sequence[Part]) -> ReadText:
        """Render some parts and look for each of them in the text.

        :raises RowTemplateError: they cannot be rendered, or nothing of them is in the text.
        """
        text = self.render(parts)
        marked = MarkedText(text, answer_spans(text, parts, self.render))
        if self.is_whole:
            return ReadText(marked)
        kinds, nothing = left_out(parts, text)
        if nothing:
            raise RowTemplateError(f"{self.label} leaves out everything of this row")
        return ReadText(marked, kinds)


def make_template(name: str, tokenizer: Any = None, *, before_answer: bool = False) -> Template:  # noqa: ANN401
    """Return a template by its name or by the path of a Jinja file.

    ``auto`` is ``chat`` if the tokenizer has a chat template, else ``text``.

    :param tokenizer: a Hugging Face tokenizer; only ``chat`` needs one.
    :param before_answer: render questions, so that an answer can directly follow the text.
    :raises TemplateError: there is no such template, or it does not compile.
    """
    if name == TemplateName.AUTO:
        name = TemplateName.CHAT if getattr(tokenizer, "chat_template", None) else TemplateName.TEXT
    match name:
        case TemplateName.TEXT:
            end = "\n" if before_answer else ""
            return Template(lambda parts: plain_text(parts) + end, _hash("text", "\n"))
        case TemplateName.ALPACA:
            return Template(_render_alpaca, _hash("alpaca", _ALPACA + _ALPACA_WITH_INPUT))
        case TemplateName.CHAT:
            return _chat_template(tokenizer, before_answer)
        case _:
            return _jinja_template(Path(name))


def _render_alpaca(parts: Sequence[Part]) -> str:
    """Fill in the prompt of Stanford Alpaca and the answer, for rows with one instruction and at most one answer."""
    roles = [part.role for part in parts]
    if Role.USER not in roles or roles != [role for role in _ALPACA_ROLES if role in roles]:
        raise RowTemplateError(f"template alpaca takes one instruction and its answer, not: {', '.join(roles)}")
    template = _ALPACA_WITH_INPUT if Role.INPUT in roles else _ALPACA
    return template.format(**{"assistant": ""} | {part.role.value: part.text for part in parts})


def _chat_template(tokenizer: Any, before_answer: bool) -> Template:  # noqa: ANN401
    """Return the tokenizer's own chat template; some refuse system messages or tools."""
    if tokenizer is None or not tokenizer.chat_template:
        raise TemplateError("template chat: this model's tokenizer has no chat template; use text or a Jinja file")
    try:
        source = tokenizer.get_chat_template()
    except ValueError as error:
        raise TemplateError("template chat: the tokenizer has several, none of them named default") from error
    if "strftime_now" in source:
        source = _STOPPED_CLOCK + source
    options = {"chat_template": source, "tokenize": False, "add_generation_prompt": before_answer}

    def run(messages: Messages) -> str:
        text: str = tokenizer.apply_chat_template(messages, **options)
        return text

    label = "the chat template"
    listed = _listed_roles(run, label)
    field = _reasoning_field(lambda messages: run(_with_lists(messages, listed)))
    render = _refusing(lambda parts: run(_with_lists(to_messages(parts, field), listed)), label)
    return Template(render, _hash("chat", source, listed), adds_special_tokens=False, label=label, is_whole=False)


def _listed_roles(run: Callable[[Messages], str], label: str) -> tuple[str, ...]:
    """Return the roles whose content a template reads as a list of pieces, as those of many vision models do.

    It is given text, and lists only where more of a conversation is in what it renders then.

    :raises TemplateError: it renders nothing of a conversation either way.
    """
    lost: dict[tuple[str, ...], int] = {}
    refusals = 0
    for roles in _LISTED:
        try:
            text = run(_with_lists([dict(message) for message in _PROBES], roles))
        except Exception:  # a program can raise anything; the rows will show what
            refusals += 1
            continue
        lost[roles] = len(left_out(_PROBE_PARTS, text)[0])
        if not lost[roles]:
            break
    if not refusals and min(lost.values()) == len(_PROBES):
        raise TemplateError(
            f"{label} renders nothing of a conversation, neither as text nor as a list of pieces; choose another with "
            "--template, such as text"
        )
    return min(lost, key=lost.__getitem__, default=())


def _with_lists(messages: Messages, roles: Sequence[str]) -> Messages:
    """Turn the content of some roles into a list of one piece."""
    for message in messages:
        if message["role"] in roles:
            message["content"] = [{"type": "text", "text": message["content"]}]
    return messages


def _reasoning_field(run: Callable[[Messages], str]) -> str | None:
    """Return the field of a message from which a chat template takes reasoning; ``None`` if it takes none."""
    question, answer = _PROBES
    for field in FIELDS:
        with suppress(Exception):  # a program can raise anything
            if _PROBE_REASONING in run([dict(question), {**answer, field: _PROBE_REASONING}]):
                return field
    return None


def _jinja_template(path: Path) -> Template:
    """Compile a Jinja file. It runs in a sandbox and sees ``messages`` (role, content) and ``parts`` (role, text)."""
    from jinja2 import StrictUndefined, meta
    from jinja2 import TemplateError as JinjaError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    source = _read_template(path)
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    try:
        names = meta.find_undeclared_variables(environment.parse(source))
        template = environment.from_string(source)
    except JinjaError as error:
        raise TemplateError(f"{path}: not a valid Jinja template: {one_line(error)}") from error
    unknown = names - {"messages", "parts", *environment.globals}
    if unknown:
        raise TemplateError(f"{path}: there is no variable {min(unknown)!r}; a template has messages and parts")
    listed = _listed_roles(lambda messages: template.render(messages=messages, parts=_PROBE_PARTS), str(path))

    def run(parts: Sequence[Part]) -> str:
        return template.render(messages=_with_lists(to_messages(parts), listed), parts=parts)

    return Template(_refusing(run, str(path)), _hash("jinja", source, listed), label=str(path), is_whole=False)


def to_messages(parts: Sequence[Part], reasoning_field: str | None = None) -> Messages:
    """Arrange parts as chat messages.

    Tools join the system message, an input joins the user's message before it, and text without a role is the user's.

    :param reasoning_field: of messages, from which the template takes the reasoning that a row has in a field;
        by default it stays in the content, as a block.
    """
    messages: Messages = []
    for part in parts:
        role = _MESSAGE_ROLES.get(part.role, part.role.value)
        if (part.role is Role.INPUT or role == "system") and messages and messages[-1]["role"] == role:
            messages[-1]["content"] += "\n" + part.text
        elif reasoning_field is not None and part.reasoning:
            messages.append({"role": role, "content": part.answer, reasoning_field: part.reasoning})
        else:
            messages.append({"role": role, "content": part.text})
    return messages


def _read_template(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (FileNotFoundError, IsADirectoryError) as error:
        hint, known = did_you_mean(str(path), TemplateName), ", ".join(TemplateName)
        raise TemplateError(f"no template {str(path)!r}: neither one of {known} nor a Jinja file{hint}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(f"{path}: cannot be read as a template: {error}") from error


def _refusing(run: Callable[[Sequence[Part]], str], name: str) -> Callable[[Sequence[Part]], str]:
    """Wrap the rendering of a template, which is a program: refuse rows on which it fails or renders no text."""

    def render(parts: Sequence[Part]) -> str:
        try:
            text = run(parts)
        except Exception as error:  # a program can raise anything
            raise RowTemplateError(f"{name} refuses this row: {one_line(error)}") from error
        if not text.strip():
            raise RowTemplateError(f"{name} renders this row as no text")
        return text

    return render


def _hash(kind: str, text: str, listed: Sequence[str] = ()) -> str:
    return hash_bytes("\0".join([kind, text, *listed]).encode())
