"""Rules that only operators of libraries are asked for: what their options promise (PRP)."""

from __future__ import annotations

TEXTS: tuple[tuple[str, str, str, str, str, str], ...] = (
    (
        "PRP-PACKED",
        "Packed sequences are not what each gives alone",
        "Sequences packed into one row give the outputs, states and gradients that each gives alone.",
        "Training packs documents; a leak over a border is a leak of another document.",
        "Start states, masks and sums anew at each border; check ragged tails and sequences of one token.",
        "o[0, 16, 0, 3]: expected 0.25, got 0.5 (9e+03 x tolerance) [packed sequences of 1, 15, 50, 34]",
    ),
    (
        "PRP-CHUNK",
        "The result depends on the chunk",
        "An option that only says how the work is cut up changes no result beyond rounding.",
        "It is chosen for speed, often by a table, and models are trained and served with different ones.",
        "Look at the state that goes from chunk to chunk, and at the last, ragged one.",
        "d_g[0, 31, 1]: expected 1.5, got 1.25 (2e+04 x tolerance) [chunk_size 32, float32]",
    ),
)
