"""A local page on one index: paste examples of a skill, see which rows match it, store it, download the rows.

``session.py`` asks the index and knows no HTTP, ``display.py`` prepares what the page shows, ``app.py`` holds the
routes, ``guard.py`` decides which requests are answered, and ``serve.py`` runs the server.
"""
