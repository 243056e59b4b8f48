"""Known answers, asked for before anything that the interpreter says is believed."""
