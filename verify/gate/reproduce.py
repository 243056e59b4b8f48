"""Is the committed verdict the one that the judge gives? Byte for byte, or at the line where it stops
being so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from verify.errors import InfrastructureError
from verify.findings import Finding
from verify.gate.folders import first_difference
from verify.gate.records import Judged
from verify.judge.verdict import TRITON_PIN, installed_triton

_ABSENT = "nothing"


def require_pinned_triton() -> None:
    """A verdict names the Triton that CMP compiled with; written under another one it would be false."""
    if installed_triton() != TRITON_PIN:
        raise InfrastructureError(
            f"expected Triton {TRITON_PIN}, which the verdicts of these rules name, got "
            f"{installed_triton()}. "
            f"Install triton=={TRITON_PIN}; nothing was written."
        )


def document_bytes(fields: Mapping[str, Any]) -> bytes:
    """verdict.json as the judge writes it: sorted keys, two spaces, a final newline."""
    return (json.dumps(fields, indent=2, sort_keys=True, ensure_ascii=True) + "\n").encode()


def check_verdict(committed: bytes, judged: Judged, *, without_cmp: bool) -> list[Finding]:
    """ADM-VERDICT where the committed bytes are not the judge's.

    `without_cmp` compares both as if CMP had been skipped: it speaks about one Triton only, which is not
    here.
    """
    try:
        fields = json.loads(committed)
    except json.JSONDecodeError as error:
        return [
            _finding(
                f"expected JSON, got {error.msg}. Restore the file as the judge wrote it.",
                error.lineno,
                error.colno,
            )
        ]
    except (ValueError, RecursionError) as error:
        return [
            _finding(f"expected JSON, got {type(error).__name__}. Restore the file as the judge wrote it.")
        ]
    if not isinstance(fields, dict):
        return [_finding(f"expected a JSON object, got {type(fields).__name__}. Restore the file.")]
    expected = dict(judged.verdict)
    canonical = document_bytes(fields) == committed
    if without_cmp:
        fields, expected = _without_cmp(fields), _without_cmp(expected)
    if canonical and document_bytes(fields) == document_bytes(expected):
        return []
    line = first_difference(document_bytes(judged.verdict), committed)
    return [_finding(_explain(fields, expected), line)]


def _explain(fields: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """The most telling difference first: another source, other rules, then field by field."""
    if fields.get("source_hash") != expected.get("source_hash"):
        return (
            "expected the verdict on this source, got one whose source_hash is another's. The "
            "mechanism was changed "
            "after it was judged, or the verdict was copied."
        )
    if fields.get("rules") != expected.get("rules"):
        return (
            f"expected a verdict under rules {expected.get('rules')}, got one under {fields.get('rules')!r}. "
            "Run `python -m verify refresh`."
        )
    differences = [
        f"{name}: committed {_short(fields.get(name, _ABSENT))}, judged {_short(expected.get(name, _ABSENT))}"
        for name in sorted({*fields, *expected})
        if fields.get(name, _ABSENT) != expected.get(name, _ABSENT)
    ]
    if not differences:
        return "expected the judge's bytes, got the same fields written in another way. Restore the file."
    return (
        f"expected the judge's verdict, byte for byte, got another ({'; '.join(differences)}). It was "
        "edited by "
        "hand, or given by another judge. Run `python -m verify refresh`, and never edit it."
    )


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 160 else f"{text[:157]}..."


def _without_cmp(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The document with CMP, and the decision that rests on it, left out; anything malformed stays as it
    is.
    """
    kept = dict(fields)
    for name in ("stages", "evidence"):
        if isinstance(kept.get(name), dict):
            kept[name] = {stage: value for stage, value in kept[name].items() if stage not in ("CMP", "ADM")}
    if isinstance(kept.get("findings"), list):
        kept["findings"] = [one for one in kept["findings"] if not str(_rule(one)).startswith("CMP-")]
    if not kept.get("findings") and kept.get("admission") in ("admitted", "rejected"):
        kept["admission"] = "admitted, or rejected by CMP"
    return kept


def _rule(finding: Any) -> Any:
    return finding.get("rule") if isinstance(finding, dict) else None


def _finding(message: str, line: int = 1, column: int = 1) -> Finding:
    return Finding(rule="ADM-VERDICT", message=message, line=line, column=column)
