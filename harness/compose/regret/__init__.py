"""How good searchers and rungs are, measured in a space small enough to be evaluated whole.

`table` evaluates every composition, `replay` lets searchers loose on the table, `ranking` compares rungs with
the full budget, `report` prints both; `python -m harness.compose.regret` does all of it.
"""
