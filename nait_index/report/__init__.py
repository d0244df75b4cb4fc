"""One page that shows what an index chooses: a single HTML file that needs no network.

``facts.py`` gathers, ``figures.py`` draws, ``wording.py`` says, ``page.py`` puts it on the page.
"""

from nait_index.report.asked import Asked, Limits
from nait_index.report.page import Written, write_report

__all__ = ["Asked", "Limits", "Written", "write_report"]
