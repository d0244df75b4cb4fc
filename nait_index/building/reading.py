"""What the model read of a row: its text as the template renders it, cut where the build cut it.

Only the tokenizer is loaded for that, and only where the template or a cut needs it.
"""

from functools import cached_property
from typing import Any

from nait_index.activations.beginnings import tokenize_beginnings
from nait_index.activations.hashes import hash_tokenizer
from nait_index.activations.loading import load_tokenizer
from nait_index.corpus import Template, make_template, plain_text
from nait_index.corpus.templates import TemplateName
from nait_index.errors import ModelError, NaitError, TemplateError
from nait_index.store.manifest import Manifest
from nait_index.types import RowRead, Sample

_REST = 200


class TextRestorer:
    """Restores what the model of an index read of rows.

    :param model: where the model is now, if it was moved.
    """

    def __init__(self, manifest: Manifest, model: str | None = None) -> None:
        self._settings = manifest.model
        self._fingerprint = manifest.fingerprint
        self._name = model or str(manifest.model["name"])

    def read(self, sample: Sample, *, is_cut: bool) -> RowRead:
        """Return what the model read of a row; where that cannot be restored, the row's text and the reason.

        :param is_cut: whether the build cut the row.
        """
        try:
            read = self._template.read(sample.parts)
            end = self._end(read.text) if is_cut else len(read.text)
        except NaitError as error:
            return RowRead(plain_text(sample.parts), problem=str(error))
        rest = read.text[end:]
        return RowRead(read.text[:end], len(rest), rest[:_REST], read.left_out)

    @cached_property
    def _loaded(self) -> Any:  # noqa: ANN401
        """The tokenizer, or why it cannot be used: a hub that is out of reach is not asked for every row."""
        try:
            tokenizer = load_tokenizer(self._name)
        except ModelError as error:
            return error
        if hash_tokenizer(tokenizer) != self._fingerprint.tokenizer:
            return ModelError(f"the tokenizer of '{self._name}' is not the one that the index was built with")
        return tokenizer

    @property
    def _tokenizer(self) -> Any:  # noqa: ANN401
        """The tokenizer of the index's model.

        :raises ModelError: it is missing, or another one.
        """
        if isinstance(self._loaded, ModelError):
            raise ModelError(str(self._loaded))
        return self._loaded

    @cached_property
    def _template(self) -> Template:
        """The template of the index.

        :raises TemplateError: it is missing, or another one.
        """
        name = str(self._settings["template"])
        text = make_template(TemplateName.TEXT)
        if self._fingerprint.template == text.content_hash:
            return text
        needs_tokenizer = name in (TemplateName.AUTO, TemplateName.CHAT)
        template = make_template(name, self._tokenizer if needs_tokenizer else None)
        if template.content_hash != self._fingerprint.template:
            raise TemplateError(f"template {name} is not the one that the index was built with")
        return template

    def _end(self, text: str) -> int:
        """Return after how many characters a text was cut."""
        tokenizer, limit = self._tokenizer, self._fingerprint.max_length
        options: dict[str, Any] = {"add_special_tokens": self._template.adds_special_tokens, "verbose": False}

        def ids_of(texts: list[str]) -> list[list[int]]:
            ids: list[list[int]] = tokenizer(texts, **options)["input_ids"]
            return ids

        ((beginning, ids),) = tokenize_beginnings([text], limit, ids_of)
        if len(ids) <= limit:
            return len(beginning)
        options |= {"truncation": True, "max_length": limit}
        if not tokenizer.is_fast:
            kept = tokenizer(beginning, **options)["input_ids"]
            return min(len(text), len(tokenizer.decode(kept, skip_special_tokens=True)))
        offsets = tokenizer(beginning, return_offsets_mapping=True, **options)["offset_mapping"]
        return max((end for _, end in offsets), default=0)
