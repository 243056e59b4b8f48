"""One module per command: from what was asked to an exit code. `harness.cli` reads the command line."""
