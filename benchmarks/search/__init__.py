"""The time of choosing, compared with alternatives and with reading the codes."""
