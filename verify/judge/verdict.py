"""The verdict: decisions only, as canonical bytes. Noisy numbers are kept apart, for
`measured/<device>.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

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

FULL_ISOLATION = "landlock+seccomp"
"""What must confine a worker unless somebody says that less is acceptable."""


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
        """Read a verdict that `to_bytes` wrote. Raises ValueError that names the wrong or missing field."""
        try:
            fields = json.loads(data)
        except ValueError as error:
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
            return cls(**fields)
        except (TypeError, ValueError) as error:
            raise ValueError(f"verdict.json: {error}") from None
