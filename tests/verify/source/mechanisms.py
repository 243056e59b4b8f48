"""Small texts that the tests of the static half share."""

from __future__ import annotations

from pathlib import Path

from verify.findings import Finding
from verify.source.outline import Outline
from verify.source.parse import parse
from verify.source.policy import check_policy
from verify.source.spec_reader import read_spec
from verify.source.static import StaticResult, check_static

ROOT = Path(__file__).resolve().parents[3]
# Nothing in its text is wrong; that it is trivial only shows when it runs.
HONEST = (ROOT / "tests" / "cheats" / "running_sum.py").read_text(encoding="utf-8").split("\n", 1)[1]
TEMPLATES = ROOT / "templates"
SKELETON = (TEMPLATES / "linear_state" / "v1" / "token_decay.py").read_text(encoding="utf-8")


def check(text: str, **options: bool) -> StaticResult:
    return check_static(text.encode(), path="mechanism.py", **options)


def judged(text: str) -> list[Finding]:
    """What parsing, SPEC and policy say, without lock and format, which are most of the time."""
    parsed, findings = parse(text.encode())
    if parsed is None:
        return findings
    outline = Outline(parsed.tree)
    spec, findings = read_spec(outline)
    return [*findings, *check_policy(outline, spec)]


def rules(text: str) -> set[str]:
    return {finding.rule for finding in judged(text)}


def only(text: str) -> Finding:
    """The one finding of a text that has exactly one."""
    (finding,) = check(text).findings
    return finding


def changed(text: str, old: str, new: str) -> str:
    """The text with one passage replaced; it must be there exactly once."""
    assert text.count(old) == 1, f"{text.count(old)} times: {old}"
    return text.replace(old, new)


def in_forward(line: str) -> str:
    return changed(
        HONEST, "    output = torch.empty_like(v)\n", f"    output = torch.empty_like(v)\n    {line}\n"
    )


def in_reference(line: str) -> str:
    return changed(HONEST, "    (S,) = state\n", f"    (S,) = state\n    {line}\n")


def in_kernel(line: str) -> str:
    place = "    total = tl.load(s_ptr"
    return changed(HONEST, place, f"    {line}\n{place}")


def in_spec(old: str, new: str) -> str:
    return changed(HONEST, old, new)
