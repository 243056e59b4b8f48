"""Files of tensors that must not have changed since they were written."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping

import torch


def digest(state: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over a text and over names, types, sizes and bytes of tensors, each field with its length."""
    fields = [state.encode()]
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        fields += [
            json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode(),
            tensor.reshape(-1).view(torch.uint8).numpy().tobytes(),
        ]
    found = hashlib.sha256()
    for field in fields:
        found.update(struct.pack("<Q", len(field)))
        found.update(field)
    return found.hexdigest()
