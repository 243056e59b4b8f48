"""The report as SARIF 2.1.0, for code scanning and editors (OASIS Standard, 27 March 2020)."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote

from verify.gate.records import ADMITTED, REJECTED, GateReport, Located
from verify.rules import RULES, RULES_VERSION, STAGE_TITLES, explain


def sarif_bytes(report: GateReport) -> bytes:
    """The document: every rule that a result cites with its help, every finding with file, line and
    column.
    """
    cited = sorted({located.finding.rule for located in report.findings})
    run = {
        "tool": {
            "driver": {
                "name": "verify gate",
                "version": f"rules {RULES_VERSION}",
                "rules": [_rule(rule) for rule in cited],
            }
        },
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {
                "executionSuccessful": report.exit_code in (ADMITTED, REJECTED),
                "exitCode": report.exit_code,
                "toolExecutionNotifications": [
                    {"level": "note", "message": {"text": note}} for note in report.notes
                ],
            }
        ],
        "originalUriBaseIds": {"%SRCROOT%": {"description": {"text": "The top of the checkout."}}},
        "results": [_result(located, cited.index(located.finding.rule)) for located in report.findings],
    }
    document = {
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


def _rule(rule_id: str) -> dict[str, Any]:
    """A rule with its page; one of another version's judge, which has no page here, by its id alone."""
    rule = RULES.get(rule_id)
    if rule is None:
        return {"id": rule_id}
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": f"{rule.what} {rule.why}"},
        "help": {
            "text": explain(rule.id),
            "markdown": f"**{rule.title}.** {rule.what}\n\n*Why.* {rule.why}\n\n*Fix.* {rule.fix}\n\n"
            f"```text\n{rule.example}\n```\n",
        },
        "defaultConfiguration": {"level": "error"},
        "properties": {"stage": rule.stage, "stageTitle": STAGE_TITLES[rule.stage]},
    }


def _result(located: Located, index: int) -> dict[str, Any]:
    finding = located.finding
    where = f" [{finding.where}]" if finding.where else ""
    by = "" if located.by == "gate" else f" ({located.by})"
    region = {"startLine": max(1, finding.line or 1), "startColumn": max(1, finding.column or 1)}
    uri = quote(located.path.encode("utf-8", "surrogateescape"))
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": "error",
        "message": {"text": f"{finding.message}{where}{by}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": uri, "uriBaseId": "%SRCROOT%"},
                    "region": region,
                }
            }
        ],
        # Stays the same when lines above move, so that one finding is not reported as fixed and as new.
        "partialFingerprints": {"finding/v1": _fingerprint(located)},
    }


def _fingerprint(located: Located) -> str:
    fields = (located.path, located.by, located.finding.rule, located.finding.message, located.finding.where)
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()
