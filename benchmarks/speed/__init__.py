"""The speed of a build, what bounds it, and its memory."""
