"""Parts -> text, by every kind of template."""

from pathlib import Path
from typing import Any

import pytest

from nait_index.corpus import RowTemplateError, make_template
from nait_index.corpus.formats import row_parts
from nait_index.corpus.spans import answer_spans
from nait_index.corpus.templates import to_messages
from nait_index.errors import TemplateError
from nait_index.types import Part, Role, RowFormat

S, TOOLS, U, I, A, TOOL, X = Role  # noqa: E741
CHATML = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"


def parts(*pairs: tuple[Role, str]) -> tuple[Part, ...]:
    """Make parts."""
    return tuple(Part(role, text) for role, text in pairs)


@pytest.fixture(scope="module")
def transformers_tokenizer() -> Any:
    """Build a real tokenizer of a few words, without a chat template."""
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<unk>": 0, "<s>": 1, "hello": 2}, unk_token="<unk>"))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", bos_token="<s>")


@pytest.fixture
def tokenizer(transformers_tokenizer: Any) -> Any:
    """Take away the chat template that another test has set."""
    transformers_tokenizer.chat_template = None
    return transformers_tokenizer


def test_text_joins_the_parts() -> None:
    """One newline between parts, nothing else added or taken away."""
    template = make_template("text")
    assert template.render(parts((S, "s"), (U, " u\n"), (I, "i"), (A, "a "))) == "s\n u\n\ni\na "
    assert template.adds_special_tokens


def test_alpaca_is_stanfords_prompt() -> None:
    """With and without input, with and without answer; braces in a row are text."""
    template = make_template("alpaca")
    assert template.adds_special_tokens
    assert template.render(parts((U, "Add {input}."), (I, "1 1"), (A, "2"))) == (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd {input}.\n\n### Input:\n1 1\n\n### Response:2"
    )
    assert template.render(parts((U, "Hi."))) == (
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nHi.\n\n### Response:"
    )


@pytest.mark.parametrize("roles", [[U, A, U, A], [S, U, A], [U, TOOL], [X], [A, U], [A], [I, U]])
def test_alpaca_refuses_other_rows(roles: list[Role]) -> None:
    """A part without a place in the prompt must not get lost."""
    with pytest.raises(RowTemplateError, match="template alpaca takes one instruction and its answer, not: "):
        make_template("alpaca").render([Part(role, "a") for role in roles])


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([(S, "s"), (TOOLS, "t"), (U, "u"), (I, "i"), (A, "a")], ["system s\nt", "user u\ni", "assistant a"]),
        ([(TOOLS, "t"), (S, "s"), (U, "u")], ["system t\ns", "user u"]),
        ([(TOOLS, "t"), (U, "u"), (A, "a"), (TOOL, "o")], ["system t", "user u", "assistant a", "tool o"]),
        ([(I, "i"), (A, "a")], ["user i", "assistant a"]),
        ([(A, "a"), (I, "i")], ["assistant a", "user i"]),
        ([(U, "a"), (U, "b")], ["user a", "user b"]),
        ([(X, "x")], ["user x"]),
    ],
)
def test_messages_of_parts(row: list[tuple[Role, str]], expected: list[str]) -> None:
    """Tools belong to the system message, an input to the user's, text without a role to the user."""
    assert [f"{message['role']} {message['content']}" for message in to_messages(parts(*row))] == expected


def test_chat_uses_the_tokenizers_template(tokenizer: Any) -> None:
    """The template of the tokenizer, with its special tokens."""
    tokenizer.chat_template = "{{ bos_token }}" + CHATML
    template = make_template("chat", tokenizer)
    assert template.render(parts((U, "hello"), (I, "i"), (A, "a"))) == "<s><user>hello\ni\n<assistant>a\n"
    assert not template.adds_special_tokens


def test_auto(tokenizer: Any) -> None:
    """Chat where there is a chat template, else text."""
    assert make_template("auto").content_hash == make_template("text").content_hash
    assert make_template("auto", tokenizer).content_hash == make_template("text").content_hash
    tokenizer.chat_template = CHATML
    assert make_template("auto", tokenizer).content_hash == make_template("chat", tokenizer).content_hash


def test_chat_of_a_tokenizer_with_several_templates(tokenizer: Any) -> None:
    """The one called default counts."""
    tokenizer.chat_template = {"default": CHATML, "tool_use": "other"}
    assert make_template("chat", tokenizer).render(parts((U, "hello"))) == "<user>hello\n"
    tokenizer.chat_template = {"rag": "a", "tool_use": "b"}
    with pytest.raises(TemplateError, match="none of them named default"):
        make_template("chat", tokenizer)


def test_chat_needs_a_chat_template(tokenizer: Any) -> None:
    """The message says what to use instead."""
    for without in (None, tokenizer):
        with pytest.raises(TemplateError, match="no chat template; use text or a Jinja file"):
            make_template("chat", without)


def test_chat_refusal_is_the_rows(tokenizer: Any) -> None:
    """What a chat template raises becomes the reason; a row rendered as nothing is refused as well."""
    tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages if m.role != 'tool' %}{{ m.content }}{% endfor %}"
    )
    template = make_template("chat", tokenizer)
    with pytest.raises(RowTemplateError, match="the chat template refuses this row: System role not supported"):
        template.render(parts((S, "s")))
    with pytest.raises(RowTemplateError, match="renders this row as no text"):
        template.render(parts((TOOL, "o")))


def test_chat_does_not_depend_on_the_day(tokenizer: Any) -> None:
    """A template that prints the date prints the same one every day, in every usual form."""
    tokenizer.chat_template = (
        "{%- if strftime_now is defined %}{%- set date = strftime_now('%d %b %Y') %}{%- endif %}"
        "{%- macro header() %}{{ strftime_now('%Y-%m-%d') + '|' }}{%- endmacro %}"
        "{{ date }}|{{ header() }}{{ strftime_now('%B %d, %Y') }}{{ messages[0].content }}"
    )
    text = make_template("chat", tokenizer).render(parts((U, "hello")))
    assert text == "26 Jul 2024|2024-07-26|July 26, 2024hello"


def test_jinja_file(tmp_path: Path) -> None:
    """A file sees messages and parts, and its text decides its hash."""
    path = tmp_path / "mine.jinja"
    path.write_text("{% for p in parts %}[{{ p.role }}] {{ p.text }}\n{% endfor %}{{ messages[0].content }}\n", "utf-8")
    template = make_template(str(path))
    assert template.render(parts((U, "é"), (I, "i"))) == "[user] é\n[input] i\né\ni"
    assert template.adds_special_tokens
    before = template.content_hash
    path.write_text("{{ messages[0].content }}")
    assert make_template(str(path)).content_hash != before


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% for %}", "not a valid Jinja template: "),
        ("{{ mesages }}", "there is no variable 'mesages'; a template has messages and parts"),
    ],
)
def test_wrong_jinja_file(tmp_path: Path, source: str, message: str) -> None:
    """A broken template is found before any row is rendered."""
    (tmp_path / "mine.jinja").write_text(source)
    with pytest.raises(TemplateError, match=message) as error:
        make_template(str(tmp_path / "mine.jinja"))
    assert not isinstance(error.value, RowTemplateError)


@pytest.mark.parametrize("source", ["{{ messages[9].content }}", "{{ ().__class__.__mro__ }}", "{{ 1 / 0 }}"])
def test_jinja_file_that_fails_on_a_row(tmp_path: Path, source: str) -> None:
    """Missing values, a way out of the sandbox and any other failure: the row is refused."""
    (tmp_path / "mine.jinja").write_text(source)
    with pytest.raises(RowTemplateError, match="this row"):
        make_template(str(tmp_path / "mine.jinja")).render(parts((U, "u")))


def test_unknown_template(tmp_path: Path) -> None:
    """Known names and the closest one are given."""
    with pytest.raises(TemplateError, match=r"no template 'alpacca': .* did you mean alpaca\?"):
        make_template("alpacca")
    with pytest.raises(TemplateError, match="neither one of auto, alpaca, chat, text nor a Jinja file"):
        make_template(str(tmp_path))
    (tmp_path / "binary.jinja").write_bytes(b"\xff")
    with pytest.raises(TemplateError, match="cannot be read as a template"):
        make_template(str(tmp_path / "binary.jinja"))


def test_hashes_differ(tokenizer: Any, tmp_path: Path) -> None:
    """Kind and text of a template decide its hash."""
    tokenizer.chat_template = CHATML
    (tmp_path / "same.jinja").write_text(CHATML)
    names = ["text", "alpaca", "chat", str(tmp_path / "same.jinja")]
    hashes = [make_template(name, tokenizer).content_hash for name in names]
    tokenizer.chat_template = CHATML + "x"
    hashes.append(make_template("chat", tokenizer).content_hash)
    assert len(set(hashes)) == 5
    assert {len(digest) for digest in hashes} == {32}


# ---- in the manner of well-known models ------------------------------------------------------------------------------

LIKE_QWEN = (
    "{%- for m in messages %}{%- set text = m.content %}"
    "{%- if m.role == 'assistant' %}"
    "{%- set thought = m.reasoning_content if m.reasoning_content is string else '' %}"
    "{%- if not thought and '</think>' in text %}"
    "{%- set thought = text.split('</think>')[0].split('<think>')[-1] %}{%- set text = text.split('</think>')[-1] %}"
    "{%- endif %}"
    "{{- '<|' + m.role + '|>' + ('<think>' + thought.strip() + '</think>' if loop.last else '') + text.lstrip() }}"
    "{%- else %}{{- '<|' + m.role + '|>' + text }}{%- endif %}{%- endfor %}"
)
LIKE_GPT_OSS = (
    "{% for m in messages %}<{{ m.role }}>{% if m.thinking %}[{{ m.thinking }}]{% endif %}{{ m.content }}{% endfor %}"
)
LIKE_MISTRAL = (
    "{% for m in messages if m.role != 'system' %}"
    "{% if loop.last and messages[0].role == 'system' and m.role == 'user' %}{{ messages[0].content }} {% endif %}"
    "[{{ m.content }}]{% endfor %}"
)
LIKE_LLAVA = (
    "{% for m in messages %}{{ m.role.upper() }}:"
    "{% for piece in m.content | selectattr('type', 'equalto', 'text') %}{{ piece.text }} {% endfor %}{% endfor %}"
)
LIKE_MIXED = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}"
    "{% else %}{% for piece in m.content %}{{ piece.text }}{% endfor %}{% endif %}|{% endfor %}"
)
TALK = {
    "messages": [
        {"role": "user", "content": "Which is long?"},
        {"role": "assistant", "content": "The Ural.", "reasoning_content": "Look at maps."},
        {"role": "user", "content": "Another?"},
        {"role": "assistant", "content": "The Volga.", "reasoning_content": "Look again."},
    ]
}
BLOCKS = {
    "messages": [turn | {"content": row_part.text} for turn, row_part in zip(
        [{"role": turn["role"]} for turn in TALK["messages"]], row_parts(TALK, RowFormat.MESSAGES), strict=True)]
}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "row", "text", "left_out"),
    [
        (
            LIKE_QWEN, TALK,
            "<|user|>Which is long?<|assistant|>The Ural.<|user|>Another?<|assistant|><think>Look again.</think>"
            "The Volga.",
            ("reasoning",),
        ),
        (
            LIKE_QWEN, BLOCKS,
            "<|user|>Which is long?<|assistant|>The Ural.<|user|>Another?<|assistant|><think>Look again.</think>"
            "The Volga.",
            ("reasoning",),
        ),
        (
            LIKE_GPT_OSS, TALK,
            "<user>Which is long?<assistant>[Look at maps.]The Ural.<user>Another?<assistant>[Look again.]The Volga.",
            (),
        ),
        (
            LIKE_LLAVA, {"messages": [{"role": "system", "content": "Be kind."}, *TALK["messages"][:1]]},
            "SYSTEM:Be kind. USER:Which is long? ", (),
        ),
        (LIKE_MIXED, {"messages": TALK["messages"][2:3]}, "Another?|", ()),
        (
            LIKE_MISTRAL, {"messages": [{"role": "system", "content": "Be kind."}, *TALK["messages"][:1]]},
            "Be kind. [Which is long?]", (),
        ),
        (
            LIKE_MISTRAL,
            {"messages": [{"role": "system", "content": "Be kind."}, *TALK["messages"][:1],
                          {"role": "assistant", "content": "The Ural."}]},
            "[Which is long?][The Ural.]", ("system turns",),
        ),
    ],
)  # fmt: skip
def test_chat_templates_like_those_of_well_known_models(
    source: str, row: dict[str, Any], text: str, left_out: tuple[str, ...], tokenizer: Any
) -> None:
    tokenizer.chat_template = source
    read = make_template("chat", tokenizer).read(row_parts(row, RowFormat.MESSAGES))
    assert (read.text, read.left_out) == (text, left_out)


# ---- answers in the text ---------------------------------------------------------------------------------------------


def _answers(text: str, *parts: Part) -> list[str]:
    return [text[start:end] for start, end in answer_spans(text, parts)]


def test_an_answer_is_looked_for_after_what_was_asked() -> None:
    question, answer = Part(Role.USER, "Is 4 more than 4?"), Part(Role.ASSISTANT, "4")
    text = "Is 4 more than 4?\n4"
    assert answer_spans(text, [question, answer]) == ((len(text) - 1, len(text)),)


def test_every_answer_of_a_conversation_counts_and_what_lies_between_does_not() -> None:
    turns = [Part(Role.USER, "Hi"), Part(Role.ASSISTANT, "Hello"), Part(Role.USER, "Bye"), Part(Role.ASSISTANT, "Hi")]
    assert _answers("<u>Hi<a>Hello<u>Bye<a>Hi<end>", *turns) == ["Hello", "Hi"]


def test_an_answer_is_found_stripped_and_without_its_reasoning() -> None:
    question = Part(Role.USER, "Why?")
    assert _answers("Why? Because.", question, Part(Role.ASSISTANT, "\nBecause.\n")) == ["Because."]
    reasoned = Part(Role.ASSISTANT, "<think>Hm.</think>Because.", "Hm.", "Because.")
    assert _answers("Why? Because.", question, reasoned) == ["Because."]


WITH_THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.thinking %}<think>{{ m.thinking }}</think>{% endif %}{{ m.content | trim }}<|im_end|>\n{% endfor %}"
)


@pytest.mark.parametrize(
    ("turns", "answers"),
    [
        ([("user", "Which is it?"), ("assistant", "a")], {"a"}),
        ([("user", "s"), ("assistant", " ant\n"), ("user", "t"), ("assistant", "user")], {"ant", "user"}),
        ([("user", "a a a"), ("assistant", "a"), ("user", "b"), ("assistant", "a")], {"a"}),
    ],
)
def test_short_answers_are_not_taken_for_a_part_of_the_mark_before_them(
    turns: list[tuple[str, str]], answers: set[str], tokenizer: Any
) -> None:
    tokenizer.chat_template = WITH_THINKING
    read = make_template("chat", tokenizer).read([Part(Role(role), text) for role, text in turns])
    ends = [read.text.index("<|im_end|>", start) for start, _ in read.marked.answers]
    assert [end for _, end in read.marked.answers] == ends
    assert {read.text[start:end] for start, end in read.marked.answers} == answers


def test_a_short_answer_is_located_without_the_reasoning_in_its_own_field(tokenizer: Any) -> None:
    tokenizer.chat_template = WITH_THINKING
    reasoned = Part(Role.ASSISTANT, "<think>\nIt is a.\n</think>\n\na", "It is a.", "a")
    read = make_template("chat", tokenizer).read([Part(Role.USER, "Which is it?"), reasoned])
    assert read.text.endswith("<think>It is a.</think>a<|im_end|>\n")
    assert read.marked.answers == ((len(read.text) - 12, len(read.text) - 11),)


def test_an_answer_of_reasoning_alone_has_no_empty_place(tokenizer: Any) -> None:
    tokenizer.chat_template = WITH_THINKING
    reasoned = Part(Role.ASSISTANT, "<think>\nIt is a.\n</think>", "It is a.", " ")
    marked = make_template("chat", tokenizer).read([Part(Role.USER, "Which is it?"), reasoned]).marked
    assert marked.answers == ((0, len(marked.text)),)


def test_a_short_answer_of_alpaca_is_not_taken_for_a_part_of_its_prompt() -> None:
    marked = make_template("alpaca").read([Part(Role.USER, "Which is it?"), Part(Role.ASSISTANT, "s")]).marked
    assert marked.answers == ((len(marked.text) - 1, len(marked.text)),)


@pytest.mark.parametrize(
    "parts",
    [
        [Part(Role.TEXT, "A tale.")],
        [Part(Role.ASSISTANT, "A tale.")],
        [Part(Role.USER, "A tale.")],
        [Part(Role.USER, "A"), Part(Role.ASSISTANT, "STORY")],
    ],
    ids=["plain text", "only an answer", "only a question", "an answer that the template rewrites"],
)
def test_a_text_counts_whole_where_no_answer_can_be_told_from_a_question(parts: list[Part]) -> None:
    assert answer_spans("A tale.", parts) == ((0, 7),)
