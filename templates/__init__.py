"""Skeletons of mechanisms: one folder per family, one full mechanism per file; each runs as it stands.

A skeleton's slots are the parts that a candidate may rewrite; all else is locked by its hash. A released
skeleton never changes: improvements go to a new `v<N>`. Nothing here imports the judge or the search, and
importing this package loads neither torch nor triton.
"""
