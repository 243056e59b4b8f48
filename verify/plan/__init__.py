"""Launch plans: what a mechanism's wrappers compile to. `format` is the data, `tracer` makes it, `executor`
runs it.
"""
