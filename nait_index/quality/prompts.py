"""The text that stands before an answer, as the template of an index would have it."""

from collections.abc import Sequence
from typing import Any, Literal

from nait_index.corpus import Template, make_template
from nait_index.corpus.templates import TextTemplate
from nait_index.types import Part


class _Asking:
    """A tokenizer whose chat template ends where the assistant is to speak."""

    def __init__(self, tokenizer: Any) -> None:  # noqa: ANN401 - a Hugging Face tokenizer
        self._tokenizer = tokenizer
        self.chat_template = getattr(tokenizer, "chat_template", None)

    def get_chat_template(self) -> str:
        return str(self._tokenizer.get_chat_template())

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, chat_template: str, tokenize: Literal[False]
    ) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                conversation, chat_template=chat_template, tokenize=tokenize, add_generation_prompt=True
            )
        )


class Prompter:
    """Renders questions with a template of the corpus.

    :param name: as in :func:`~nait_index.corpus.make_template`; :param tokenizer: of the model that reads the text.
    :raises TemplateError: there is no such template.
    """

    def __init__(self, name: str, tokenizer: Any) -> None:  # noqa: ANN401
        self._template: Template = make_template(name, _Asking(tokenizer))
        # Joined by newlines, question and answer have one between them too.
        self._end = "\n" if isinstance(self._template, TextTemplate) else ""
        self.content_hash = self._template.content_hash
        self.adds_special_tokens = self._template.adds_special_tokens

    def render(self, question: Sequence[Part]) -> str:
        """Make the text that an answer follows directly.

        :raises RowTemplateError: the template has no place for these parts.
        """
        return self._template.render(question) + self._end
