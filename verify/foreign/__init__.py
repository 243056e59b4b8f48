"""Kernels from elsewhere: a library's operator, unmodified, held against a reference that a spec file gives.

Here the library's own Python meets data, so what it says about itself is worth less than a mechanism's
verdict: every document says `"trust": "vendor"`, and nothing of it is ever admitted to candidates/.
"""
