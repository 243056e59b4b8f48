"""From a candidate's folder to something that can be called: only what the judge admitted, byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from harness.mechanism.autograd import BoundMechanism
from verify.findings import Finding
from verify.judge.verdict import Verdict
from verify.rules import RULES_VERSION
from verify.source.static import Mechanism, check_static

MECHANISM_FILE = "mechanism.py"
VERDICT_FILE = "verdict.json"
Requirement = Literal["admitted", "any"]


class MechanismRefused(Exception):
    """A mechanism that must not be loaded. `rule` is the id of the first reason."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


def load_mechanism(folder: Path, *, require: Requirement = "admitted") -> BoundMechanism:
    """Bind `<folder>/mechanism.py` under its `verdict.json`.

    The static stages run again. With `require` "admitted" the verdict must have admitted the mechanism; with
    "any" it only has to be about this file. Its Python then runs in this process: "any" is for sources you
    trust. Raises MechanismRefused.
    """
    if require not in ("admitted", "any"):
        raise ValueError(f"require: expected admitted or any, got {require!r}")
    path = folder / MECHANISM_FILE
    mechanism = _checked(_read(path), str(path))
    verdict = _verdict(folder / VERDICT_FILE)
    if verdict.source_hash != mechanism.source_hash:
        raise MechanismRefused(
            "LCK-SOURCE-HASH",
            f"{path}: LCK-SOURCE-HASH expected the source {verdict.source_hash[:12]} of its verdict, got "
            f"{mechanism.source_hash[:12]}. Restore the file, or judge it again as a new candidate.",
        )
    if require == "admitted" and verdict.admission != "admitted":
        raise MechanismRefused(
            "ADM-NOT-ADMITTED",
            f"{path}: ADM-NOT-ADMITTED expected an admitted mechanism, got {verdict.admission} at depth "
            f"{verdict.depth}. Run `verify` at full depth, or load with require='any' if you trust it.",
        )
    if require == "admitted" and verdict.rules != RULES_VERSION:
        raise MechanismRefused(
            "ADM-VERDICT",
            f"{path}: ADM-VERDICT expected a verdict under rules {RULES_VERSION}, got one under "
            f"{verdict.rules}. Judge it again: `python -m verify refresh`.",
        )
    return BoundMechanism(mechanism=mechanism, path=str(path), admission=verdict.admission)


def load_source(source: bytes, *, path: str = MECHANISM_FILE) -> BoundMechanism:
    """Bind a source that passes the static stages and has no verdict: a skeleton, or a mechanism in a test.

    Its Python runs in this process: only for sources that you trust. Raises MechanismRefused.
    """
    return BoundMechanism(mechanism=_checked(source, path), path=path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{path}: ADM-NOT-ADMITTED expected a mechanism with its verdict, got {error.strerror}"
        raise MechanismRefused("ADM-NOT-ADMITTED", message) from None


def _verdict(path: Path) -> Verdict:
    try:
        return Verdict.from_bytes(_read(path))
    except ValueError as error:
        raise MechanismRefused("ADM-NOT-ADMITTED", f"{path}: ADM-NOT-ADMITTED {error}") from None


def _checked(source: bytes, path: str) -> Mechanism:
    result = check_static(source, path=path)
    if result.mechanism is None:
        findings: tuple[Finding, ...] = result.findings
        listed = "\n".join(finding.render(path) for finding in findings)
        raise MechanismRefused(
            findings[0].rule, f"expected a mechanism that passes the static stages, got\n{listed}"
        )
    return result.mechanism
