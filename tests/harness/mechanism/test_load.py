from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.mechanism import MechanismRefused, load_mechanism, load_source
from tests.admission import PROPERTIES, SHOWN, STAGES
from tests.harness.mechanism.conftest import FADING
from verify.judge.verdict import Verdict
from verify.rules import RULES


def candidate(folder: Path, **changes: str) -> Path:
    """A folder with the fading mechanism and a verdict that admits it, but for `changes`."""
    source = FADING.read_bytes()
    (folder / "mechanism.py").write_bytes(source)
    fields = {"source_hash": load_source(source).mechanism.source_hash, "admission": "admitted", **changes}
    verdict = Verdict(
        skeleton=None,
        depth="full",
        stages=STAGES,
        findings=(),
        evidence=SHOWN,
        properties=PROPERTIES,
        isolation="none",
        plan_seed=1,
        behaviour="0",
        **fields,
    )
    (folder / "verdict.json").write_bytes(verdict.to_bytes())
    return folder


def test_an_admitted_mechanism_loads(tmp_path: Path) -> None:
    bound = load_mechanism(candidate(tmp_path))
    assert bound.admission == "admitted"
    assert [entry.name for entry in bound.spec.differentiated] == ["q", "k", "v", "a", "S"]


@pytest.mark.parametrize("admission", ["rejected", "incomplete"])
def test_what_was_not_admitted_is_refused_unless_asked_for(tmp_path: Path, admission: str) -> None:
    folder = candidate(tmp_path, admission=admission)
    with pytest.raises(
        MechanismRefused, match=f"expected an admitted mechanism, got {admission} at depth full"
    ) as caught:
        load_mechanism(folder)
    assert caught.value.rule == "ADM-NOT-ADMITTED"
    assert caught.value.rule in RULES
    assert load_mechanism(folder, require="any").admission == admission


@pytest.mark.parametrize("require", ["admitted", "any"])
def test_a_verdict_about_another_source_is_refused(tmp_path: Path, require) -> None:
    folder = candidate(tmp_path)
    path = folder / "mechanism.py"
    path.write_text(path.read_text().replace("d_S = decay * d_S", "d_S = decay * decay * d_S"))
    with pytest.raises(MechanismRefused, match="Restore the file") as caught:
        load_mechanism(folder, require=require)
    assert caught.value.rule == "LCK-SOURCE-HASH"
    assert caught.value.rule in RULES


def test_the_static_stages_run_again(tmp_path: Path) -> None:
    folder = candidate(tmp_path)
    path = folder / "mechanism.py"
    path.write_text(path.read_text().replace("import torch\n", "import torch\nimport socket\n"))
    with pytest.raises(MechanismRefused, match="socket"):
        load_mechanism(folder, require="any")


def test_a_missing_or_malformed_verdict_is_refused(tmp_path: Path) -> None:
    folder = candidate(tmp_path)
    (folder / "verdict.json").write_text(json.dumps({"admission": "admitted"}))
    with pytest.raises(MechanismRefused, match="expected the fields"):
        load_mechanism(folder)
    (folder / "verdict.json").unlink()
    with pytest.raises(MechanismRefused, match=r"verdict\.json: .* expected a mechanism with its verdict"):
        load_mechanism(folder)


def test_a_folder_without_a_mechanism_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MechanismRefused, match=r"mechanism\.py: .* expected a mechanism with its verdict"):
        load_mechanism(tmp_path)


def test_an_admission_under_other_rules_is_judged_again_first(tmp_path: Path) -> None:
    folder = candidate(tmp_path, rules="1")
    with pytest.raises(MechanismRefused, match="verify refresh") as caught:
        load_mechanism(folder)
    assert caught.value.rule == "ADM-VERDICT"
    assert load_mechanism(folder, require="any").admission == "admitted"
