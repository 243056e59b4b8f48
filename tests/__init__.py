"""Tests mirror the packages; exploits/ and honest/ hold the mechanisms that must be refused and must pass."""
