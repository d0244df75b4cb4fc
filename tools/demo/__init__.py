"""The generators of the demo's rows, and the script that trained the bundled model."""
