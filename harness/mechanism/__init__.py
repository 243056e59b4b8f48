"""Admitted mechanisms in use: loaded, called with gradients, and as modules of a network."""

from harness.mechanism.autograd import Backend, BoundMechanism, State
from harness.mechanism.load import MechanismRefused, load_mechanism, load_source
from harness.mechanism.module import MixerModule

__all__ = [
    "Backend",
    "BoundMechanism",
    "MechanismRefused",
    "MixerModule",
    "State",
    "load_mechanism",
    "load_source",
]
