"""How long choosing takes, beside what else could do it and beside reading the codes."""
