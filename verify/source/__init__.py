"""The static half of the judge: reads a mechanism's text and never runs it.

Nothing below this package imports torch, triton or numpy; a test reads the imports and enforces it.
"""
