"""How well a few programs of a launch stand for all of them: `python -m tests.agreement` prints a table."""
