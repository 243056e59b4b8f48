"""Shorter sequences for tests that were written for a device: parameters by name, lengths by a rule.

A clamped length keeps its remainder modulo the chunk, so a ragged tail stays ragged and a whole number of
chunks stays one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

LENGTHS = frozenset(
    "T L S T_q T_kv Tq Tkv TQ TK seq_len seqlen seqlen_q seqlen_k sequence_length q_len kv_len "
    "max_seq_len max_seqlen M_len total_len".split()
)
OFFSETS = frozenset("cu_seqlens cu_seqlens_q cu_seqlens_k offsets cu_lens".split())
_CHUNKS = ("chunk_size", "BT", "chunk", "block_size", "C")
_CHUNK = 64


def clamped_length(length: int, most: int, chunk: int = _CHUNK) -> int:
    """`length`, or the largest number up to `most`, rounded up to a multiple of `chunk`, that leaves the same
    remainder.
    """
    ceiling = -(-most // chunk) * chunk
    if length <= most:
        return length
    rest = length % chunk
    return ceiling if rest == 0 else max(rest, (ceiling - chunk) + rest)


def clamped_offsets(offsets: list[int], most: int) -> list[int]:
    """Cumulative lengths with a total of about `most`: short sequences keep their lengths, the longest gets
    what is left, and none becomes empty.
    """
    lengths = [after - before for before, after in itertools.pairwise(offsets)]
    if not lengths or offsets[-1] - offsets[0] <= most:
        return offsets
    longest = max(range(len(lengths)), key=lengths.__getitem__)
    share = max(1, most // (2 * max(1, len(lengths) - 1)))
    short = [0 if at == longest else min(length, share) for at, length in enumerate(lengths)]
    short[longest] = max(share, min(lengths[longest], most - sum(short)))
    result = [offsets[0]]
    for length in short:
        result.append(result[-1] + length)
    return result


def chunk_of(parameters: Mapping[str, Any]) -> int:
    """The chunk that a test's parameters name, joined with the usual 64."""
    for name in _CHUNKS:
        value = parameters.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 512:
            return math.lcm(_CHUNK, value) if value < _CHUNK else value
    return _CHUNK


def clamped(parameters: Mapping[str, Any], most: int | None, limits: Mapping[str, int]) -> dict[str, Any]:
    """What to change: new values by parameter name. `limits` bounds further parameters as plain numbers."""
    changes: dict[str, Any] = {}
    for name, value in parameters.items():
        new = value
        if name in limits and isinstance(value, int) and not isinstance(value, bool):
            new = min(value, limits[name])
        elif most is not None and name in LENGTHS and isinstance(value, int) and not isinstance(value, bool):
            new = clamped_length(value, most, chunk_of(parameters))
        elif most is not None and name in OFFSETS and isinstance(value, (list, tuple)) and value:
            whole = [int(part) for part in value]
            new = clamped_offsets(whole, most)
            new = type(value)(new) if new != whole else value
        if new != value:
            changes[name] = new
    return changes


def cost_of(parameters: Mapping[str, Any]) -> int:
    """How large a test is: the product of its sizes, for choosing the smallest of many."""
    cost = 1
    for value in parameters.values():
        size = value[-1] if isinstance(value, (list, tuple)) and value else value
        if isinstance(size, int) and not isinstance(size, bool):
            cost *= max(1, size)
    return cost
