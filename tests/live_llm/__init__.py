"""A real language model in the design loop: `python -m tests.live_llm` shows that garbage does no harm."""
