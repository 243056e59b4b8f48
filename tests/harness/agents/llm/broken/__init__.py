"""Twelve broken candidates, each with the answer that repairs it, and what the judge says of both.

`<name>.toml` says what is wrong: `base` is a released mechanism, `change` the patch that makes the candidate
of it, `answer` what a model answers when it is told. `verdicts.json` is what the judge said of the candidate
and of the repaired file; `python -m tests.harness.agents.llm.broken` asks again and rewrites it.
"""
