"""The offline agent: typed slot alternatives, recombined and mutated; `harness.agents` explains it."""
