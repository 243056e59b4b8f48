"""A verdict that is read back says what the judge can have said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from verify.judge.verdict import REQUIRED, Verdict, shown_on

ROOT = Path(__file__).resolve().parents[3]
VERDICTS = sorted((ROOT / "candidates").glob("*/*/verdict.json"))
ADMITTED = next(path for path in VERDICTS if b'"admission": "admitted"' in path.read_bytes())
REJECTED = next(path for path in VERDICTS if b'"admission": "rejected"' in path.read_bytes())


def edited(path: Path, *place: str, value: Any) -> bytes:
    fields = json.loads(path.read_bytes())
    inner = fields
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    return json.dumps(fields).encode()


@pytest.mark.parametrize("path", VERDICTS, ids=lambda path: path.parent.name)
def test_what_is_shipped_reads_back_to_the_same_bytes(path: Path) -> None:
    assert Verdict.from_bytes(path.read_bytes()).to_bytes() == path.read_bytes()


def test_a_rejection_does_not_become_an_admission_by_one_word() -> None:
    with pytest.raises(ValueError, match="what an admission rests on, got the finding NUM-ILL-CONDITIONED"):
        Verdict.from_bytes(edited(REJECTED, "admission", value="admitted"))


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("depth",), "quick", "depth quick"),
        (("stages", "NUM"), "fail", "NUM: 'fail'"),
        (("stages", "THR"), "skip", "THR: 'skip'"),
        (("stages", "ADM"), "n/a", "ADM: 'n/a'"),
        (("stages", "LCK"), "n/a", "LCK: 'n/a'"),
        (("stages",), {"PAR": "pass"}, "POL: None"),
        (("stages",), dict.fromkeys((*REQUIRED, "ADM"), "n/a"), "PAR: 'n/a'"),
        (("properties",), {}, "no properties or behaviour"),
        (("properties", "causal"), "fail", "causal properties or behaviour"),
        (("behaviour",), None, "no properties or behaviour"),
        (("evidence",), {"THR": "device:h100"}, "the evidence"),
        (("evidence", "THR"), "device:h100", "the evidence"),
        (("evidence", "MEM"), "source", "the evidence"),
        (("evidence", "PAR"), "", "the evidence"),
        (("findings",), [{"rule": "NUM-OUTPUT", "message": "x"}], "the finding NUM-OUTPUT"),
    ],
)
def test_an_admission_that_contradicts_itself_is_none(place: tuple[str, ...], value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Verdict.from_bytes(edited(ADMITTED, *place, value=value))


def test_an_admission_on_a_device_says_so_of_all_that_ran_there() -> None:
    shown = shown_on("device:h100")
    data = edited(ADMITTED, "evidence", value={stage: shown[stage] for stage in REQUIRED})
    assert Verdict.from_bytes(data).evidence["MEM"] == "device:h100"


def test_a_free_mechanism_has_no_lock_to_pass() -> None:
    fields = json.loads(ADMITTED.read_bytes())
    fields["skeleton"], fields["stages"]["LCK"] = None, "n/a"
    del fields["evidence"]["LCK"]
    assert Verdict.from_bytes(json.dumps(fields).encode()).admission == "admitted"


def test_other_rules_asked_for_other_things() -> None:
    fields = {**json.loads(ADMITTED.read_bytes()), "rules": "1", "properties": {}}
    assert Verdict.from_bytes(json.dumps(fields).encode()).rules == "1"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("admission",), "yes"),
        (("depth",), 3),
        (("evidence",), [1]),
        (("evidence", "THR"), 5),
        (("stages",), "pass"),
        (("stages", "NUM"), "maybe"),
        (("properties",), None),
        (("rules",), 3),
        (("behaviour",), 1.5),
        (("findings",), [{"rule": 3, "message": "x"}]),
        (("findings",), [{"rule": "XYZ-NEW", "message": "x"}]),
        (("findings",), 7),
        (("plan_seed",), 12),
    ],
)
def test_a_field_of_another_kind_is_named(place: tuple[str, ...], value: Any) -> None:
    with pytest.raises(ValueError, match=r"verdict\.json"):
        Verdict.from_bytes(edited(REJECTED, *place, value=value))


def test_a_verdict_nested_without_end_is_none() -> None:
    with pytest.raises(ValueError, match=r"verdict\.json: expected JSON"):
        Verdict.from_bytes(b"[" * 100_000)
