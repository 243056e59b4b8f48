"""The widths of a model, apart from which layers it has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """Sizes shared by all layers. Features are numbers of channels; `vocab` of token ids.

    `mlp` "swiglu" has three matrices (d_model x ffn), "gelu" two. `ssm_*` are Mamba-2's: its inner width is
    `ssm_expand` x d_model, cut into heads of `ssm_head_dim`, each with a state of
    `ssm_head_dim` x `ssm_state`.
    """

    d_model: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    mlp: Literal["swiglu", "gelu"] = "swiglu"
    tied: bool = True
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    ssm_state: int = 128
    ssm_head_dim: int = 64
    ssm_expand: int = 2
    ssm_groups: int = 1
    ssm_conv: int = 4

    def __post_init__(self) -> None:
        for name in ("d_model", "heads", "kv_heads", "head_dim", "ffn", "vocab"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected one or more, got {getattr(self, name)}")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads: expected a multiple of kv_heads, got {self.heads} and {self.kv_heads}")
        if (self.ssm_expand * self.d_model) % self.ssm_head_dim:
            raise ValueError(
                f"ssm_head_dim: expected a divisor of ssm_expand x d_model = "
                f"{self.ssm_expand * self.d_model}, got {self.ssm_head_dim}"
            )

    def with_(self, **changes: Any) -> ModelShape:
        """A copy with other sizes."""
        return replace(self, **changes)
