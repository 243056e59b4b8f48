"""Kernels executed: Triton's own language over a builder that computes where a compiler would record.

`launch` runs the programs of a grid, side by side where they may (`group`, `schedule`).
"""
