"""Corpus files -> samples -> text.

``read_corpus`` turns every row of any supported file into a :class:`~nait_index.types.Sample` or a
:class:`~nait_index.types.Rejected`; a template renders the text that the model reads.
"""

from nait_index.corpus.folders import STDIN_NAME
from nait_index.corpus.formats import parts_of
from nait_index.corpus.read import (
    SAMPLE_COLUMNS,
    naming_absent,
    question_of,
    read_corpus,
    read_examples,
    read_text,
    restore_sample,
    stored_text,
)
from nait_index.corpus.rows import RejectedWriter, read_rejected, rejected_writer, to_json
from nait_index.corpus.sources import Corpus, corpus_list, label_of
from nait_index.corpus.templates import RowTemplateError, Template, TemplateName, asked_text, make_template, plain_text

__all__ = [
    "SAMPLE_COLUMNS",
    "STDIN_NAME",
    "Corpus",
    "RejectedWriter",
    "RowTemplateError",
    "Template",
    "TemplateName",
    "asked_text",
    "corpus_list",
    "label_of",
    "make_template",
    "naming_absent",
    "parts_of",
    "plain_text",
    "question_of",
    "read_corpus",
    "read_examples",
    "read_rejected",
    "read_text",
    "rejected_writer",
    "restore_sample",
    "stored_text",
    "to_json",
]
