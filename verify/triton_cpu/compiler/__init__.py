"""Launches compiled ahead of time for targets that need not be here, and what the assembler says of them."""
