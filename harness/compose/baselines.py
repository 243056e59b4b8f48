"""Models to compare with, by name: Llama 3.2, Composer's best, and the layer patterns of Nemotron."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.compose.composition import ATTENTION, MAMBA, MLP, Composition, alternating, parse
from harness.compose.extrapolate import Configuration, configure, described
from harness.compose.primitives.alphabet import built_in
from harness.compose.sizes import LLAMA, SIZES, Size

COMPOSER_BEST = parse("2A+5M+2A+3M+1A+3M")
"""Composer's best of 16 layers (arXiv 2510.00379), stretched there and here."""

_NVIDIA = {"M": MAMBA, "*": ATTENTION, "-": MLP}
NEMOTRON_H = "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-"
NEMOTRON_NANO_2 = "M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-"
NEMOTRON_SHAPE = LLAMA.with_(ssm_groups=8)
"""Nemotron's Mamba-2 layers have 8 groups and states of 128. Its MLPs are squared ReLUs and ours SwiGLUs, and
it ties no embedding: what is compared is the order of the layers.
"""


def from_nvidia(pattern: str) -> Composition:
    """A pattern in NVIDIA's alphabet: `M` Mamba-2, `*` attention, `-` MLP."""
    return Composition(tuple(_NVIDIA[letter] for letter in pattern))


def baseline(name: str, size: Size) -> Configuration:
    """The named baseline at a size, within 3 % of it; "llama-3.2" at 1B is exact instead, and 24 % larger.
    Raises KeyError for a name not in `BASELINES`.
    """
    return BASELINES[name](size)


def _llama(size: Size) -> Configuration:
    """At 1B exactly Llama 3.2, 1,235,814,400 parameters; elsewhere as `_llama_matched`."""
    if size != SIZES["1B"]:
        return _llama_matched(size)
    return described("llama-3.2-1b", alternating(size.layers), built_in(), LLAMA, "given")


def _llama_matched(size: Size) -> Configuration:
    """Llama's layers at widths that make them as large as the others of this size."""
    name = f"llama-matched-{size.name}"
    return configure(alternating(size.layers), built_in(), size, method="given", name=name)


def _composer(size: Size) -> Configuration:
    name = f"composer-best-{size.name}"
    return configure(COMPOSER_BEST, built_in(), size, method="stretch", name=name)


def _nemotron(name: str, pattern: str) -> Callable[[Size], Configuration]:
    """The pattern whole at every size, only narrower: cutting layers out would make another pattern."""

    def configured(size: Size) -> Configuration:
        layers, named = from_nvidia(pattern), f"{name}-{size.name}"
        return configure(layers, built_in(), size, method="given", name=named, like=NEMOTRON_SHAPE)

    return configured


BASELINES: Mapping[str, Callable[[Size], Configuration]] = {
    "llama-3.2": _llama,
    "llama-matched": _llama_matched,
    "composer-best": _composer,
    "nemotron-h": _nemotron("nemotron-h", NEMOTRON_H),
    "nemotron-nano-2": _nemotron("nemotron-nano-2", NEMOTRON_NANO_2),
}
