"""Specs that ship: operators that people use, each with its definition, cases, and what was found."""
