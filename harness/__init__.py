"""Proposes mechanisms and searches over them. It imports `verify`; nothing imports it."""
