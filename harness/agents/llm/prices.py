"""What tokens cost: a table of list prices, and a user's own over it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from harness.agents.llm.protocol import Usage, short
from harness.errors import WrongUsage

_MOST = 1e9
"""Of anything dearer, what answers cost could come to more than a float holds."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """US dollars per million tokens read and written."""

    input: float
    output: float

    def of(self, usage: Usage) -> float:
        """US dollars, to a hundred-millionth."""
        return round((usage.read * self.input + usage.written * self.output) / 1e6, 8)


def load_prices(path: Path | None = None) -> dict[str, Price]:
    """Model -> price: the shipped table, with the entries of `path` (TOML or JSON) over it.

    Raises WrongUsage where the file cannot be read or holds anything but `{model: {input, output}}`.
    """
    shipped = tomllib.loads((resources.files(__package__) / "prices.toml").read_text(encoding="utf-8"))
    prices = _table(shipped, "prices.toml")
    return prices if path is None else {**prices, **_table(_read(path), str(path))}


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise WrongUsage(f"--prices: {path} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise WrongUsage(f"--prices: {path}: expected TOML or JSON, got {short(str(error))}") from None


def _table(value: Any, name: str) -> dict[str, Price]:
    entries = value if isinstance(value, dict) else {"": value}
    return {str(model): _price(entry, f"{name}: {short(str(model))}") for model, entry in entries.items()}


def _price(entry: Any, where: str) -> Price:
    keys = {"input", "output"}
    if not isinstance(entry, Mapping) or set(entry) != keys or not all(_is_price(entry[key]) for key in keys):
        raise WrongUsage(
            f"--prices: {where}: expected input and output in US dollars per million tokens, each from 0 to "
            f"{_MOST:.0e}, got {_shown(entry)}"
        )
    return Price(input=float(entry["input"]), output=float(entry["output"]))


def _is_price(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST


def _shown(entry: Any) -> str:
    """An entry as it was read, or what it is where Python does not print one so long or so deep."""
    try:
        return short(repr(entry))
    except (ValueError, RecursionError):
        return f"a {type(entry).__name__} that is too large to show"
