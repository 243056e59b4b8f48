"""Definitions in plain PyTorch that several specs share: loops over time, and attention as a matrix.

Layout is (B, T, H, D). They are slow and obviously right, and compute in the dtype they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch


def spans(cu_seqlens: Any | None, batch: int, length: int) -> Iterator[tuple[int, int, int, int]]:
    """(number, batch entry, first token, end) of every sequence, packed or not."""
    if cu_seqlens is None:
        yield from ((entry, entry, 0, length) for entry in range(batch))
        return
    borders = [int(border) for border in cu_seqlens]
    yield from ((n, 0, borders[n], borders[n + 1]) for n in range(len(borders) - 1))


def state_before(initial_state: Any | None, number: int, like: Any, shape: tuple[int, ...]) -> Any:
    """The state a sequence starts from: its row of `initial_state` (N, H, K, V), or zeros."""
    return like.new_zeros(shape) if initial_state is None else initial_state[number]


def linear_state(
    q: Any,
    k: Any,
    v: Any,
    log_decay: Any,
    *,
    scale: float,
    initial_state: Any | None = None,
    cu_seqlens: Any | None = None,
    write: Callable[[Any, int, int], Any] | None = None,
) -> tuple[Any, Any]:
    """S_t = exp(a_t) S_{t-1} + k_t v_t^T (or what `write` adds), o_t = scale S_t^T q_t, for every sequence.

    q, k: (B, T, H, K), v: (B, T, H, V); log_decay: broadcastable to (B, T, H, K, V). `write(S, b, t)` gives
    the update of the decayed state. Returns (B, T, H, V) and the last states (N, H, K, V).
    """
    batch, length, heads, width = k.shape
    decay = torch.exp(log_decay).expand(batch, length, heads, *log_decay.shape[3:])
    outputs: list[list[Any]] = [[] for _ in range(batch)]
    states = []
    for number, b, start, end in spans(cu_seqlens, batch, length):
        state = state_before(initial_state, number, v, (heads, width, v.shape[-1]))
        for t in range(start, end):
            state = state * decay[b, t]
            added = k[b, t, :, :, None] * v[b, t, :, None, :] if write is None else write(state, b, t)
            state = state + added
            outputs[b].append(torch.einsum("hk,hkv->hv", q[b, t] * scale, state))
        states.append(state)
    return torch.stack([torch.stack(rows) for rows in outputs]), torch.stack(states)


def delta_state(
    q: Any,
    k: Any,
    v: Any,
    beta: Any,
    log_decay: Any,
    *,
    scale: float,
    initial_state: Any | None = None,
    cu_seqlens: Any | None = None,
) -> tuple[Any, Any]:
    """S_t = exp(a_t) S_{t-1} + beta_t k_t (v_t - (exp(a_t) S_{t-1})^T k_t)^T: the delta rule, with a decay.

    beta, log_decay: (B, T, H). Returns as `linear_state`.
    """

    def write(state: Any, b: int, t: int) -> Any:
        seen = torch.einsum("hk,hkv->hv", k[b, t], state)
        change = beta[b, t, :, None] * (v[b, t] - seen)
        return k[b, t, :, :, None] * change[:, None, :]

    return linear_state(
        q,
        k,
        v,
        log_decay[..., None, None],
        scale=scale,
        initial_state=initial_state,
        cu_seqlens=cu_seqlens,
        write=write,
    )


def causal_attention(
    q: Any,
    k: Any,
    v: Any,
    *,
    scale: float,
    log_decay: Any | None = None,
    window: int | None = None,
    sink: Any | None = None,
    cu_seqlens: Any | None = None,
) -> Any:
    """Softmax attention to earlier tokens of the same sequence, with the whole matrix.

    q: (B, T, HQ, K); k, v: (B, T, H, K or V), each head of which serves HQ / H queries. Scores are
    scale q_i k_j + sum of log_decay over j < t <= i; `window` keeps i - window < j <= i; `sink` (HQ,) is one
    more score without a value. Returns (B, T, HQ, V).
    """
    batch, length, groups = q.shape[0], q.shape[1], q.shape[2] // k.shape[2]
    keys, values = (x.repeat_interleave(groups, dim=2) for x in (k, v))
    scores = torch.einsum("bihk,bjhk->bhij", q, keys) * scale
    if log_decay is not None:
        total = torch.cumsum(log_decay, dim=1).transpose(1, 2)
        scores = scores + (total[..., :, None] - total[..., None, :])
    i = torch.arange(length)
    seen = i[:, None] >= i[None, :]
    if window is not None:
        seen = seen & (i[:, None] - i[None, :] < window)
    if cu_seqlens is not None:
        number = torch.bucketize(i, cu_seqlens[1:].to(i.dtype), right=True)
        seen = seen & (number[:, None] == number[None, :])
    scores = torch.where(seen, scores, torch.full_like(scores, -torch.inf))
    if sink is not None:
        extra = sink[None, :, None, None].expand(batch, -1, length, 1)
        scores = torch.cat([scores, extra], dim=-1)
    weights = torch.softmax(scores, dim=-1)[..., :length]
    return torch.einsum("bhij,bjhv->bihv", weights, values)


def unit_length(x: Any, eps: float = 1e-6) -> Any:
    """Rows over their lengths, with `eps` under the root."""
    return x * torch.rsqrt((x * x).sum(-1, keepdim=True) + eps)


def expand_groups(x: Any, heads: int) -> Any:
    """(B, T, G, D) -> (B, T, heads, D): each group serves heads / G neighbouring heads."""
    return x.repeat_interleave(heads // x.shape[-2], dim=-2)
