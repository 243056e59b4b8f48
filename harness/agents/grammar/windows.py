"""The contents of the window slot: how many of T tokens a token sees, itself included."""

from __future__ import annotations

from dataclasses import dataclass

from harness.agents.grammar.trees import Json


@dataclass(frozen=True, kw_only=True)
class Window:
    """T // parts + tokens; `parts` 0 leaves out what grows with T. At least one token at every T."""

    tokens: int = 0
    parts: int = 1

    def __post_init__(self) -> None:
        if not (self.tokens >= 0 and self.parts >= 0 and (self.tokens or self.parts == 1)):
            raise ValueError(
                f"expected tokens >= 1, or all of T, got tokens={self.tokens!r}, parts={self.parts!r}"
            )


def describe_window(window: Window) -> str:
    """E.g. `T`, `64` or `T // 2 + 1`."""
    if window.parts == 0:
        return str(window.tokens)
    share = "T" if window.parts == 1 else f"T // {window.parts}"
    return share if window.tokens == 0 else f"{share} + {window.tokens}"


def window_body(window: Window) -> str:
    """The body of `_window(T)`, plain Python, returning an int."""
    return f"return {describe_window(window)}"


def window_to_json(window: Window) -> Json:
    """[tokens, parts]."""
    return [float(window.tokens), float(window.parts)]


def window_from_json(data: Json) -> Window:
    """The window that `window_to_json` wrote. Raises ValueError for anything else."""
    if isinstance(data, list) and len(data) == 2:
        numbers = [int(part) for part in data if isinstance(part, int | float) and part == int(part)]
        if len(numbers) == 2:
            return Window(tokens=numbers[0], parts=numbers[1])
    raise ValueError(f"expected [tokens, parts], got {data!r}")
