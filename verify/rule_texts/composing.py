"""Rules of composition: what is asked of an admitted mechanism before a model is made of it."""

from __future__ import annotations

TEXTS = (
    (
        "ADM-CAUSAL",
        "A bidirectional mechanism in a causal model",
        "A mechanism that joins a composition is declared causal, and was judged so.",
        "A layer that sees later tokens lets a language model copy its targets.",
        "Leave it out of the alphabet; a bidirectional mechanism is for encoders.",
        "candidates/softmax_attention/bidirectional-a-tdfrenk6: expected a causal mechanism",
    ),
    (
        "ADM-EVIDENCE",
        "A large model of a mechanism that no device has timed",
        "Above 100 million parameters, the throughput (THR) of every mechanism was shown on a device.",
        "Estimates are good enough to search with, and not to spend a cluster on.",
        "Judge it on a machine with a GPU, which writes the evidence; to count only, build on the meta device.",
        "pzbb45xn: expected device:... as evidence of THR, got model",
    ),
)
