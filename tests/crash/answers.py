"""A model without a network: right, wrong, cheating and broken files for the skeleton that it is shown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.agents.grammar.agent import GrammarAgent
from harness.agents.llm.protocol import Completion, Finish, Message, Request, Usage
from harness.agents.protocol import Evidence, Skeleton, Task

KINDS = ("again", "right", "wrong", "cheating", "broken", "refused", "cut off", "repaired")
"""What the answer for proposal n is: KINDS[n % 8]."""

_NUMBER = re.compile(r"This is proposal (\d+) of search")
_TEMPLATE = re.compile(r'"template": "([^"]+)"')
_GRADIENT = re.compile(r"(def _phi_grad\(.*?\n    return )([^\n]+)\n", re.DOTALL)
_NO_PATCH = "<<<<<<< SEARCH\nno such line\n=======\nanother\n>>>>>>> REPLACE\n"


class WritingModel:
    """Answers by the number of the proposal, which the prompt names, and nothing else."""

    name = "openai"
    model = "scripted"

    def __init__(self, skeletons: Sequence[Skeleton]) -> None:
        self._skeletons = {skeleton.name: skeleton for skeleton in skeletons}

    async def complete(self, request: Request) -> Completion:
        text, finish = self._answer(request.messages)
        read = sum(len(message.text) for message in request.messages)
        return Completion(text=text, finish=finish, usage=Usage(read=read // 4, written=len(text) // 4))

    async def close(self) -> None:
        return None

    def _answer(self, messages: Sequence[Message]) -> tuple[str, Finish]:
        asked = [message.text for message in messages if message.role == "user"]
        number = int(_found(_NUMBER, asked[0]))
        skeleton = self._skeletons[_found(_TEMPLATE, asked[0])]
        match KINDS[number % len(KINDS)]:
            case "again":
                return _whole(_draft(skeleton, number - 7)), "stop"
            case "wrong":
                return _whole(_GRADIENT.sub(r"\1(\2) * 1.01\n", _draft(skeleton, number))), "stop"
            case "cheating":
                return _whole(f"import os\n{_draft(skeleton, number)}"), "stop"
            case "broken":
                return _whole(_draft(skeleton, number).replace("def forward(", "def forward((")), "stop"
            case "refused":
                return "", "refusal"
            case "cut off":
                return _whole(_draft(skeleton, number))[:900], "length"
            case "repaired" if len(asked) == 1:
                return _NO_PATCH, "stop"
            case _:
                return _whole(_draft(skeleton, number)), "stop"


def _draft(skeleton: Skeleton, number: int) -> str:
    """What the offline agent drafts for this skeleton; the number is the seed."""
    evidence = Evidence(position=number, operator="draft")
    return GrammarAgent().propose(Task(skeletons=(skeleton,), seed=number), None, evidence).source


def _whole(source: str) -> str:
    return f"```python\n{source}```\n"


def _found(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    assert found is not None, f"expected {pattern.pattern!r} in a prompt"
    return found.group(1)
