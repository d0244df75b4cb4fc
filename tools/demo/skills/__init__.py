"""One generator per skill, and the material that they draw from."""
