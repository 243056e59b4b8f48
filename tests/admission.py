"""What an admitted verdict shows for itself, for tests that make one up."""

from __future__ import annotations

from verify.findings import Status
from verify.judge.verdict import REQUIRED

STAGES: dict[str, Status] = dict.fromkeys((*REQUIRED, "ADM"), "pass")
EVIDENCE = {
    **dict.fromkeys(("PAR", "POL", "LCK"), "source"),
    **dict.fromkeys(("NUM", "GRD", "PRP", "MEM", "SUB"), "interpreter"),
    "CON": "trace",
    "CMP": "compiler",
    "THR": "model",
}
