"""What a definition must not ask of torch is refused, and whatever else it asks is answered as ever."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from verify import torch_guard
from verify.sandbox.wire import Refusal
from verify.source.vocabulary import ORACLE_FUNCTIONAL, ORACLE_TORCH
from verify.torch_guard import guarded

VALUES = torch.linspace(0.1, 0.9, 12, dtype=torch.float64).reshape(3, 4)
COUNT = torch.ones((), dtype=torch.int64)

FORBIDDEN: dict[str, tuple[str, Callable[[torch.Tensor], Any]]] = {
    "item": ("CON-VALUE-READ", lambda x: x.sum().item()),
    "truth": ("CON-VALUE-READ", lambda x: bool(x.sum() > 0)),
    "float": ("CON-VALUE-READ", lambda x: float(x.sum())),
    "integer": ("CON-VALUE-READ", lambda x: int(x.sum())),
    "branch": ("CON-VALUE-READ", lambda x: x if x.sum() > 0 else -x),
    "equal": ("CON-VALUE-READ", lambda x: torch.equal(x, x)),
    "allclose": ("CON-VALUE-READ", lambda x: torch.allclose(x, x)),
    "is_nonzero": ("CON-VALUE-READ", lambda x: torch.is_nonzero(x.sum())),
    "math": ("CON-VALUE-READ", lambda x: math.sqrt(x.sum())),
    "index": ("CON-VALUE-READ", lambda x: x[:COUNT]),
    "size": ("CON-VALUE-READ", lambda _: torch.zeros(COUNT)),
    "maximum": ("CON-VALUE-READ", lambda x: max(x[0])),
    "text": ("CON-VALUE-READ", lambda x: f"{x.sum():f}"),
    "set_": ("CON-REFERENCE", lambda x: x.detach().set_(x.detach())),
    "resize_": ("CON-REFERENCE", lambda x: x.detach().resize_(5)),
}
CASTS: dict[str, Callable[[torch.Tensor], Any]] = {
    "to": lambda x: x.to(torch.float32),
    "float": lambda x: x.float(),
    "type": lambda x: x.type(torch.float32),
    "half": lambda x: x.half(),
    "type_as": lambda x: x.type_as(COUNT),
}
HONEST: dict[str, Callable[[torch.Tensor], Any]] = {
    "integer operands": lambda x: x * torch.arange(4) + 1,
    "booleans in a product": lambda x: x * (x > 0.5),
    "a scalar tensor": lambda x: torch.where(x > 0.5, x, 0.0) * x.sum(),
    "a fill": lambda x: x.masked_fill(x > 0.5, float("-inf")).softmax(-1),
    "a mean": lambda x: x.cumsum(0).mean(-1).exp() ** 2,
    "the same dtype": lambda x: x.to(torch.float64).double(),
    "whole numbers made of comparisons": lambda x: (x > 0.5).sum(0) + x,
}


@pytest.fixture(params=("watch", "mode"))
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Under the watch first, and as under a torch that has none."""
    if request.param == "mode":
        monkeypatch.setattr(torch_guard, "_WATCH", None)
    return str(request.param)


def outcome(call: Callable[[], Any], *, casts: bool = False) -> tuple[str, Any]:
    """What became of a definition, comparable byte for byte."""
    try:
        return "answered", _plain(guarded(call, casts=casts))
    except Refusal as refusal:
        return "refused", refusal.rule
    except Exception as error:  # noqa: BLE001  torch refuses in many types
        return "raised", type(error).__name__


def _plain(answer: Any) -> Any:
    if isinstance(answer, torch.Tensor):
        return str(answer.dtype), tuple(answer.shape), answer.detach().contiguous().numpy().tobytes()
    return [_plain(one) for one in answer] if isinstance(answer, tuple | list) else answer


def test_this_torch_can_be_watched() -> None:
    assert torch_guard._WATCH is not None


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_a_definition_must_not_do_is_refused(either: str, name: str, gradients: bool) -> None:
    rule, forbidden = FORBIDDEN[name]
    leaf = VALUES.clone().requires_grad_(gradients)
    for casts in (False, True):
        assert outcome(lambda: forbidden(leaf), casts=casts) == ("refused", rule)


@pytest.mark.parametrize("name", CASTS)
def test_a_cast_is_refused_where_none_is_allowed(either: str, name: str) -> None:
    cast = CASTS[name]
    assert outcome(lambda: cast(VALUES)) == ("refused", "CON-REFERENCE-CAST")
    assert outcome(lambda: cast(VALUES), casts=True)[0] == "answered"


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("name", HONEST)
def test_what_torch_does_by_itself_is_not_the_definitions_doing(
    either: str, name: str, gradients: bool
) -> None:
    runs: list[int] = []

    def definition() -> Any:
        runs.append(1)
        return HONEST[name](VALUES.clone().requires_grad_(gradients))

    assert outcome(definition)[0] == "answered"
    assert len(runs) == 1, "the mode was needed to clear it"


def test_a_run_that_swallowed_the_alarm_is_not_believed() -> None:
    runs: list[int] = []

    def definition() -> torch.Tensor:
        runs.append(1)
        try:
            return VALUES * float(VALUES.sum())
        except Exception:  # noqa: BLE001  as a hostile author would
            return VALUES

    guarded(definition, casts=False)
    assert len(runs) == 2


def test_nothing_is_watched_outside_of_a_definition(either: str) -> None:
    outcome(lambda: VALUES.sum().item())
    assert VALUES.sum().item() == pytest.approx(6.0)
    assert VALUES.float().dtype == torch.float32


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(ORACLE_TORCH | ORACLE_FUNCTIONAL))
def test_the_watch_and_the_mode_answer_alike(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function = getattr(torch, name, None) or getattr(torch.nn.functional, name)
    if not callable(function):
        return

    def operands() -> tuple[tuple[Any, ...], ...]:
        x, y, ones = VALUES.clone(), VALUES.clone(), torch.ones(3, 4, dtype=torch.int64)
        return (x,), (x, y), (x, ones), (ones,), (x, 0), (x, (4,)), ((x, ones),)

    def ask() -> list[tuple[str, Any]]:
        return [
            outcome(partial(function, *given), casts=casts) for casts in (False, True) for given in operands()
        ]

    watched = ask()
    monkeypatch.setattr(torch_guard, "_WATCH", None)
    assert watched == ask()
