"""Corpus files -> samples -> text, and the chosen rows -> files again.

``read_corpus`` makes a :class:`~nait_index.types.Sample` or a :class:`~nait_index.types.Rejected` of every row of any
supported file; a template makes the text of a sample that the model reads; ``write_rows`` writes original rows back.
"""

from nait_index.corpus.export import check_output, write_json, write_rows
from nait_index.corpus.read import read_corpus, read_text, restore_sample
from nait_index.corpus.readers import STDIN_NAME
from nait_index.corpus.rejects import RejectedWriter, read_rejected, rejected_writer
from nait_index.corpus.rows import to_json
from nait_index.corpus.templates import RowTemplateError, Template, TemplateName, make_template, plain_text

__all__ = [
    "STDIN_NAME",
    "RejectedWriter",
    "RowTemplateError",
    "Template",
    "TemplateName",
    "check_output",
    "make_template",
    "plain_text",
    "read_corpus",
    "read_rejected",
    "read_text",
    "rejected_writer",
    "restore_sample",
    "to_json",
    "write_json",
    "write_rows",
]
