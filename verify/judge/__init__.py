"""The dynamic half of the judge: cases, inputs, tolerances, stages, verdicts. NumPy only; torch runs in
workers.
"""
