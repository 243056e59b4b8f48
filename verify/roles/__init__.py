"""What a confined worker may be asked to do: one module per role, each with `open(source) -> Handler`."""
