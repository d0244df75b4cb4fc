"""One page that shows what an index chooses: a single HTML file that needs no network.

``gather.py`` gathers the facts (``facts.py``) from an index, ``figures.py`` and ``comparison_figures.py`` draw them,
``wording.py`` puts them in words, and ``page.py`` puts them on the page.
"""

from nait_index.report.page import WrittenReport, write_report
from nait_index.report.request import Limits, ReportRequest

__all__ = ["Limits", "ReportRequest", "WrittenReport", "write_report"]
