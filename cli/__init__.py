"""The command line: commands parse, call one method of the library, and print. Installed as ``nait_index_cli``."""
