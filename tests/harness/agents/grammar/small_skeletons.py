"""Two skeletons cut down to their slots: enough for everything that only rewrites and compares text."""

from __future__ import annotations

from harness.agents.protocol import Skeleton, Task
from verify.source.canonical import format_source
from verify.source.identity import fingerprint

_TEXT = '''"""A small {name} mechanism.

Source: made up for tests.
"""

import torch
import triton
import triton.language as tl

SPEC = {{"contract": 1, "template": "linear_state/v1/{name}"}}
TUNING = [{{"CHUNK": 32}}]


def _phi_torch(x):
    """Feature map phi, elementwise: the identity."""
    return x


@triton.jit
def _phi(x):
    """phi on a float32 tile."""
    return x


@triton.jit
def _phi_grad(x):
    """d phi / d x on a float32 tile."""
    return tl.full(x.shape, 1.0, tl.float32)


def _key_norm_torch(x):
    return x


@triton.jit
def _key_norm(x):
    return x


@triton.jit
def _key_norm_grad(x, dy):
    return dy


def _scale(K):
    return K**-0.5


def reference(q):
    """{name}"""

    def _phi(x):
        return x

    return _phi(q) * {number}.0
'''

SLOTS = {
    "feature_map": ("_phi_torch", "_phi", "_phi_grad"),
    "key_norm": ("_key_norm_torch", "_key_norm", "_key_norm_grad"),
    "scale": ("_scale",),
}


def small_skeleton(name: str, number: int) -> Skeleton:
    source = format_source(_TEXT.format(name=name, number=number))
    return Skeleton(
        name=f"linear_state/v1/{name}", source=source, fingerprint=fingerprint(source), slots=SLOTS
    )


def small_task(seed: int = 0) -> Task:
    return Task(skeletons=(small_skeleton("ungated", 1), small_skeleton("token_decay", 2)), seed=seed)
