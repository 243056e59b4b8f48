"""Small kernels with one planted defect each (`defects/`), and a sound twin of the same name (`sound/`).

A file runs anywhere Triton does: it holds `@triton.jit` functions and a literal `CASE`, which `corpus` reads.
"""
