"""A model that writes right, wrong, cheating and broken files, and answers that are no file at all."""

from __future__ import annotations

import re
from typing import Any

from harness.agents.protocol import Skeleton, Task
from tests.harness.agents.llm.loopback import Reply, says

SOURCE = '''"""Linear attention: a state that adds up every token."""

import torch

SPEC = {
    "contract": 1,
    "template": "linear_state/v1/ungated",
    "slots": {"feature_map": ["_phi_torch"], "scale": ["_scale"]},
}


def _phi_torch(x: torch.Tensor) -> torch.Tensor:
    """A feature map."""
    y = torch.exp(x)
    return y + 1.0


def _scale(K: int) -> float:
    return K**-0.5


def reference(q, *, state):
    return _phi_torch(q) * _scale(q.shape[-1]), state


def forward(q, *, state, tuning):
    return q, state, ()


def backward(residuals, d_output, d_state, *, needs, tuning):
    return d_output
'''
UNGATED = Skeleton(
    name="linear_state/v1/ungated",
    source=SOURCE,
    fingerprint="none",
    slots={"feature_map": ("_phi_torch",), "scale": ("_scale",)},
)
TASK = Task(skeletons=(UNGATED,), seed=3)


def whole(body: str, skeleton: Skeleton = UNGATED) -> str:
    return f"```python\n{skeleton.source.replace('return K**-0.5', f'return {body}')}```\n"


def answer(request: dict[str, Any]) -> Reply:
    """By the proposal's number: right (the second time by a patch), rejected, cheating, broken, refused, cut
    off, a patch that does not match until it is repaired, empty.
    """
    users = [message["content"] for message in request["messages"] if message["role"] == "user"]
    found = re.search(r"This is proposal (\d+) of search", users[0])
    assert found is not None
    number = int(found.group(1))
    repaired = len(users) > 1
    match number % 8:
        case 1 if number > 8:
            line = "    y = torch.exp(x)"
            return says(f"<<<<<<< SEARCH\n{line}\n=======\n{line} + {number}\n>>>>>>> REPLACE\n")
        case 1:
            return says(whole(f"1.0 / {number}"))
        case 2:
            return says(whole(f"wrong / {number}"))
        case 3:
            return says(whole(f"__import__('os').system('true') or {number}"))
        case 4:
            return says(whole(f"(({number}"), usage=None)
        case 5:
            return says(None, refusal="I would rather not.")
        case 6:
            return says(whole(f"0.5 / {number}")[:200], finish="length")
        case 7:
            text = (
                whole(f"0.25 / {number}") if repaired else "<<<<<<< SEARCH\nno\n=======\n1\n>>>>>>> REPLACE\n"
            )
            return says(text)
        case _:
            return says("")
