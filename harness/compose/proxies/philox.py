"""NumPy generators by name: counter-based, so the same bits on every platform and in every order of use."""

from __future__ import annotations

import numpy as np

from verify.seeds import derive


def generator(seed: int, *labels: str | int) -> np.random.Generator:
    """A Philox generator (Salmon et al., 2011) of its own for one purpose, named by `labels`."""
    return np.random.Generator(np.random.Philox(key=derive(seed, *labels)))
