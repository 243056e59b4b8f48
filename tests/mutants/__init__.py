"""Wrong versions of the skeletons, one small edit each, and what must reject them.

Each `<skeleton>.toml` lists mutants: a name, what is wrong, the stage that should reject it, and the edits as
exact text. A mutant is judged as a `free` mechanism: the lock would refuse it before any number is computed.
"""
