"""How fast the build is, what bounds it, and how much memory it takes."""
