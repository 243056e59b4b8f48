"""What `bench` writes: one document for each mechanism and device, and where it is kept.

Every number in it is noisy, so nothing here enters a verdict. A candidate's document lies beside it; a
skeleton has no folder of its own, so its documents are under docs/measured/.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verify.device.attach import LIMITS, Device
from verify.device.bench import CPU_SHAPES, FORMS, REPETITIONS, FormName, Measured, measure
from verify.findings import Finding, in_order
from verify.judge.cache import Checker
from verify.judge.cases import SHAPES
from verify.judge.judge import environment
from verify.judge.session import Rejected, Session
from verify.report import row_lines
from verify.rules import RULES_VERSION
from verify.sandbox.client import Server
from verify.seeds import derive
from verify.source.static import Mechanism, check_static

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Benched:
    """One mechanism's document, and what decides the exit code: findings reject, refusals leave it open."""

    path: Path
    document: dict[str, Any]
    findings: tuple[Finding, ...]
    refused: tuple[str, ...]


def bench_file(
    path: Path,
    source: bytes,
    *,
    judge: Checker,
    server: Server,
    device: Device,
    forms: Sequence[FormName] = FORMS,
    repetitions: int = REPETITIONS,
) -> Benched:
    """Time one mechanism, once the judge finds nothing against it at depth quick."""
    verdict = judge.check(source, path=str(path), depth="quick")
    mechanism = check_static(source, path=str(path)).mechanism
    measured = Measured()
    if verdict.findings or mechanism is None:
        measured.findings += verdict.findings
        measured.refused.append("it is not timed before it is clean at depth quick")
    else:
        measured = _measured(server, mechanism, device, forms, repetitions)
    findings = in_order(measured.findings)
    document = {
        "kind": "throughput",
        "path": str(path),
        "source_hash": verdict.source_hash,
        "skeleton": verdict.skeleton,
        "rules": RULES_VERSION,
        "environment": {
            **environment(),
            "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "device": dict(device.described),
        },
        "evidence": device.name if device.kind == "cuda" else "clock exercised on a CPU; not a measurement",
        "rows": measured.rows,
        "findings": [finding.to_json() for finding in findings],
        "refused": measured.refused,
    }
    return Benched(path=path, document=document, findings=findings, refused=tuple(measured.refused))


def _measured(
    server: Server, mechanism: Mechanism, device: Device, forms: Sequence[FormName], repetitions: int
) -> Measured:
    shapes = SHAPES if device.kind == "cuda" else CPU_SHAPES
    seed = derive(0, "bench", mechanism.source_hash)
    with Session(server, mechanism, LIMITS) as session:
        try:
            return measure(session, device, shapes=shapes, seed=seed, forms=forms, repetitions=repetitions)
        except Rejected as rejected:
            return Measured(findings=[rejected.finding])


def place_of(path: Path, skeleton: str | None, slug: str) -> Path | None:
    """Where a mechanism's document for a device is kept; None for a file that is neither candidate nor
    skeleton.
    """
    if path.name == "mechanism.py":
        return path.parent / "measured" / f"{slug}.json"
    if skeleton is not None and path.resolve() == ROOT / "templates" / f"{skeleton}.py":
        return ROOT / "docs" / "measured" / slug / f"{skeleton.replace('/', '-')}.json"
    return None


def record(benched: Iterable[Benched], slug: str) -> list[Path]:
    """Write the documents that hold; returns their paths. What was rejected or refused is not kept."""
    written = []
    for one in benched:
        place = place_of(one.path, one.document["skeleton"], slug)
        if place is None or one.findings or one.refused:
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(one.document, indent=2, sort_keys=True) + "\n"
        place.write_text(text, encoding="utf-8")
        written.append(place)
    return written


def document_lines(benched: Benched) -> list[str]:
    """The document as people read it."""
    lines = [f"{benched.path}: {benched.document['evidence']}"]
    for row in benched.document["rows"]:
        lines += [f"  {line}" for line in row_lines(row)]
    lines += [f"  {finding.render(str(benched.path))}" for finding in benched.findings]
    lines += [f"  refused: {reason}" for reason in benched.refused]
    return lines
