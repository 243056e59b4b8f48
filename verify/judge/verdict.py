"""The verdict: decisions only, as canonical bytes. Noisy numbers are kept apart, for
`measured/<device>.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, get_args

from verify.findings import STAGES, Finding, Status
from verify.rules import RULES_VERSION

Depth = Literal["static", "quick", "full"]
Admission = Literal["admitted", "rejected", "incomplete"]
TRITON_PIN = "3.7.1"
"""The Triton whose compiler the CMP stage of this rules version speaks about."""


def installed_triton() -> str | None:
    """The version of Triton that is installed here; None without one."""
    try:
        return version("triton")
    except PackageNotFoundError:
        return None


TARGETS = ("sm_80", "sm_90", "sm_100", "gfx942")
"""The devices that CMP compiles for."""

REQUIRED = ("PAR", "POL", "LCK", "CON", "NUM", "GRD", "PRP", "MEM", "SUB", "CMP", "THR")
"""The stages that admission asks for; none may be skipped."""

EVIDENCE = {
    "PAR": "source",
    "POL": "source",
    "LCK": "source",
    "CON": "trace",
    "NUM": "interpreter",
    "GRD": "interpreter",
    "PRP": "interpreter",
    "MEM": "interpreter",
    "SUB": "interpreter",
    "CMP": "compiler",
    "THR": "model",
    "ADM": "all",
}
"""What shows each stage where there is no device; see `shown_on`."""

FULL_ISOLATION = "landlock+seccomp"
"""What must confine a worker unless somebody says that less is acceptable."""


def shown_on(device: str) -> dict[str, str]:
    """`EVIDENCE` where kernels are run and timed on a device, by its name (`device:...`)."""
    return {
        stage: device if shown in ("interpreter", "model") else shown for stage, shown in EVIDENCE.items()
    }


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the judge decided about one source, and how each claim was shown.

    `properties` says for each property of a sequence mixer whether it was shown or does not apply;
    `behaviour` is the digest of what it computes (`verify.judge.behaviour`), at full depth. `measured` never
    enters the bytes: the same source under the same rules gives the same bytes.
    """

    source_hash: str
    skeleton: str | None
    depth: Depth
    admission: Admission
    stages: Mapping[str, Status]
    findings: tuple[Finding, ...]
    evidence: Mapping[str, str]
    isolation: str
    plan_seed: int
    properties: Mapping[str, Status] = field(default_factory=dict)
    behaviour: str | None = None
    rules: str = RULES_VERSION
    triton: str = TRITON_PIN
    measured: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def timed_out(self) -> bool:
        """True where the machine gave up before the judge could say anything: this is no verdict."""
        return any(finding.rule == "ADM-TIMEOUT" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        return {
            "admission": self.admission,
            "behaviour": self.behaviour,
            "depth": self.depth,
            "evidence": dict(self.evidence),
            "findings": [finding.to_json() for finding in self.findings],
            "isolation": self.isolation,
            "plan_seed": f"{self.plan_seed:016x}",
            "properties": dict(self.properties),
            "rules": self.rules,
            "skeleton": self.skeleton,
            "source_hash": self.source_hash,
            "stages": {stage: self.stages[stage] for stage in STAGES if stage in self.stages},
            "triton": self.triton,
        }

    def to_bytes(self) -> bytes:
        """`verdict.json`: sorted keys, two spaces, a final newline; no floats and no clock."""
        return (json.dumps(self.to_json(), indent=2, sort_keys=True, ensure_ascii=True) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Verdict:
        """Read a verdict that `to_bytes` wrote.

        Raises ValueError that names the wrong or missing field, or says that a verdict under the rules of
        today contradicts itself, as one does that somebody edited. What others asked for is not known here.
        """
        try:
            fields = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"verdict.json: expected JSON, got {error}") from None
        expected = {
            *("admission", "behaviour", "depth", "evidence", "findings", "isolation", "plan_seed"),
            *("properties", "rules", "skeleton", "source_hash", "stages", "triton"),
        }
        if not isinstance(fields, dict) or set(fields) != expected:
            got = sorted(fields) if isinstance(fields, dict) else type(fields).__name__
            raise ValueError(f"verdict.json: expected the fields {sorted(expected)}, got {got}")
        try:
            fields["findings"] = tuple(Finding(**finding) for finding in fields["findings"])
            fields["plan_seed"] = int(fields["plan_seed"], 16)
            verdict = cls(**fields)
            _check_types(verdict)
        except (TypeError, ValueError) as error:
            raise ValueError(f"verdict.json: {error}") from None
        ours = verdict.admission == "admitted" and verdict.rules == RULES_VERSION
        if ours and (wrong := _contradiction(verdict)):
            raise ValueError(f"verdict.json: expected what an admission rests on, got {wrong}")
        return verdict


def _check_types(verdict: Verdict) -> None:
    """Raises ValueError for a field of another kind."""
    for name, allowed in (("admission", get_args(Admission)), ("depth", get_args(Depth))):
        if getattr(verdict, name) not in allowed:
            raise ValueError(f"{name}: expected one of {list(allowed)}, got {getattr(verdict, name)!r}")
    for name in ("isolation", "rules", "source_hash", "triton"):
        if not isinstance(getattr(verdict, name), str):
            raise ValueError(f"{name}: expected a text, got {getattr(verdict, name)!r}")  # noqa: TRY004
    for name in ("behaviour", "skeleton"):
        if not isinstance(getattr(verdict, name), str | None):
            raise ValueError(f"{name}: expected a text or null, got {getattr(verdict, name)!r}")  # noqa: TRY004
    for name, values in (("stages", get_args(Status)), ("properties", get_args(Status)), ("evidence", None)):
        table = getattr(verdict, name)
        texts = isinstance(table, dict) and all(isinstance(value, str) for value in table.values())
        if not texts or (values is not None and not set(table.values()) <= set(values)):
            raise ValueError(f"{name}: expected {list(values or ['texts'])} by name, got {table!r}")
    for finding in verdict.findings:
        lines = isinstance(finding.line, int | None) and isinstance(finding.column, int | None)
        texts = isinstance(finding.rule, str) and isinstance(finding.message, str)
        if not (lines and texts and isinstance(finding.where, str | None) and finding.stage in STAGES):
            raise ValueError(f"findings: expected rule, message, line, column and where, got {finding!r}")


def _contradiction(verdict: Verdict) -> str | None:
    """What an admitted verdict says that none can."""
    if verdict.depth != "full":
        return f"depth {verdict.depth}"
    if verdict.findings:
        return f"the finding {verdict.findings[0].rule}"
    for stage in (*REQUIRED, "ADM"):
        unlocked = stage == "LCK" and verdict.skeleton is None  # there is no skeleton to equal
        if verdict.stages.get(stage) not in (("pass", "n/a") if unlocked else ("pass",)):
            return f"{stage}: {verdict.stages.get(stage)!r}"
    open_ = [name for name, status in verdict.properties.items() if status not in ("pass", "n/a")]
    if open_ or not verdict.properties or verdict.behaviour is None:
        return f"{', '.join(open_) or 'no'} properties or behaviour shown"
    timed = verdict.evidence.get("THR", "")
    table = shown_on(timed) if timed.startswith("device:") else EVIDENCE
    if verdict.evidence != {stage: table[stage] for stage in REQUIRED if verdict.stages[stage] == "pass"}:
        return f"the evidence {dict(verdict.evidence)}"
    return None
