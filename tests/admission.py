"""What an admitted verdict shows for itself, for tests that make one up."""

from __future__ import annotations

from verify.findings import Status
from verify.judge.verdict import EVIDENCE, REQUIRED

STAGES: dict[str, Status] = dict.fromkeys((*REQUIRED, "ADM"), "pass")
PROPERTIES: dict[str, Status] = {"causal": "pass"}
SHOWN = {stage: EVIDENCE[stage] for stage in REQUIRED}
