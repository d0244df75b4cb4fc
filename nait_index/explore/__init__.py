"""A local page on one index: paste examples of a skill, see what the corpus has for it, keep it, take the rows along.

``session.py`` knows the index and no HTTP, ``guard.py`` who may ask, ``app.py`` the routes, ``serve.py`` the machine.
"""
