"""The gate on scratch repositories: what it looks at, whom it asks, and what it makes of the answers."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from tests.verify.gate.scratch import CANDIDATES, QuickJudge, Scratch, digest_of, rules_of
from verify.findings import Finding
from verify.gate import run
from verify.gate.changes import find_changes
from verify.gate.git import Repository, WrongUsage
from verify.gate.records import GateReport


def test_an_honest_candidate_passes_and_shows_its_slots(scratch: Scratch) -> None:
    folder = scratch.add_honest()
    scratch.commit()
    report = scratch.gate()
    assert report.exit_code == 0, [located.render() for located in report.findings]
    (one,) = report.reports
    assert (one.path, one.change, one.admission) == (
        f"candidates/linear_state/{folder.name}",
        "added",
        "admitted",
    )
    assert any(line.startswith("+    return") for line in one.diff)


def test_a_broken_candidate_is_refused_at_its_line_and_the_honest_one_beside_it_is_not(
    scratch: Scratch,
) -> None:
    honest, (broken, line) = scratch.add_honest(), scratch.add_broken()
    scratch.commit()
    report = scratch.gate()
    assert report.exit_code == 1
    words = {Path(one.path).name: one.word for one in report.reports}
    assert words == {honest.name: "ok", broken.name: "refused"}
    (found,) = [one for one in report.findings if one.finding.rule == "GRD-VALUE"]
    assert (found.path, found.finding.line) == (f"candidates/linear_state/{broken.name}/mechanism.py", line)


def test_without_the_broken_candidate_the_same_branch_passes(scratch: Scratch) -> None:
    scratch.add_honest()
    broken, _ = scratch.add_broken()
    scratch.commit()
    shutil.rmtree(broken)
    scratch.commit()
    assert scratch.gate().exit_code == 0


def test_only_what_changed_since_the_merge_base_is_judged(scratch: Scratch) -> None:
    folder = scratch.add_honest()
    scratch.commit()
    scratch.git("switch", "--quiet", "main")
    (scratch.root / "elsewhere.txt").write_text("main went on")
    scratch.commit()
    scratch.git("switch", "--quiet", "pr")
    runner = QuickJudge()
    report = scratch.gate(runner)
    assert report.merge_base != scratch.git("rev-parse", "main").strip()
    assert {question.files for question in runner.questions} == {
        (f"candidates/linear_state/{folder.name}/mechanism.py",)
    }


def test_a_branch_that_changes_no_candidate_has_nothing_to_check(scratch: Scratch) -> None:
    (scratch.root / "README.md").write_text("words")
    scratch.commit()
    report = scratch.gate()
    assert report.exit_code == 5
    assert "nothing to check" in report.sentence


def test_the_gate_writes_nothing_to_the_checkout(scratch: Scratch) -> None:
    scratch.add_honest()
    scratch.add_broken()
    scratch.commit()
    (scratch.root / "candidates" / "note.txt").write_text("not committed")
    before = scratch.contents()
    scratch.gate()
    assert scratch.contents() == before


def test_files_that_are_not_committed_are_judged_and_named(scratch: Scratch) -> None:
    broken, _ = scratch.add_broken()
    report = scratch.gate()
    assert "GRD-VALUE" in rules_of(report)
    assert any("not committed" in note and broken.name in note for note in report.notes)


def test_a_fresh_plan_alone_can_refuse_and_reaches_no_verdict(scratch: Scratch) -> None:
    folder = scratch.add_honest()
    scratch.commit()
    report = scratch.gate(QuickJudge(fresh="def _phi_grad"))
    assert report.exit_code == 1
    assert {located.by for located in report.findings} == {"fresh plan"}
    assert (folder / "verdict.json").read_bytes() == (CANDIDATES[0] / "verdict.json").read_bytes()
    assert any("--seed 7" in note for note in report.notes)


def test_verdicts_come_from_the_judge_of_the_merge_base(scratch: Scratch) -> None:
    scratch.add_honest()
    scratch.commit()
    runner = QuickJudge()
    scratch.gate(runner)
    assert [question.plan_seed for question in runner.questions] == [0, 7]
    for judge in runner.judges:
        assert judge["verify/rules.py"] == (scratch.root / "verify" / "rules.py").read_bytes()
        assert {path.split("/")[0] for path in judge} == {"verify", "templates"}


def test_a_pull_request_that_weakens_the_judge_is_still_judged_by_the_old_one(scratch: Scratch) -> None:
    scratch.add_honest()
    rules = scratch.root / "verify" / "rules.py"
    rules.write_text(rules.read_text() + "\n# everything passes now\n")
    scratch.commit()
    runner = QuickJudge(base="def _phi_grad")
    report = scratch.gate(runner)
    assert report.exit_code == 1
    (found,) = report.findings
    assert (found.by, found.finding.rule) == ("the base's judge", "GRD-VALUE")
    weakened = [b"everything passes now" in judge["verify/rules.py"] for judge in runner.judges]
    assert weakened == [True, True, False]


def test_a_change_of_rules_judges_every_candidate_and_every_skeleton(scratch: Scratch) -> None:
    rules = scratch.root / "verify" / "rules.py"
    rules.write_text(rules.read_text() + "\n")
    scratch.commit()
    report = scratch.gate()
    assert report.exit_code == 0, [located.render() for located in report.findings]
    kinds = [one.kind for one in report.reports]
    skeletons = [path for path in (scratch.root / "templates").rglob("v*/*.py") if path.stem != "__init__"]
    assert kinds.count("candidate") == len(CANDIDATES) - 1
    assert kinds.count("skeleton") == len(skeletons) > 0
    assert any("verify/ or templates/ changed" in note for note in report.notes)


def test_what_python_would_import_instead_of_a_rule_is_a_change_of_rules(scratch: Scratch) -> None:
    (scratch.root / "verify" / "rules.abi3.so").write_bytes(b"\x7fELF")
    (scratch.root / "templates" / "linear_state" / "notes.md").write_text("words")
    changes = find_changes(Repository(scratch.root), "main", {})
    assert changes.rules_changed
    (scratch.root / "verify" / "rules.abi3.so").unlink()
    assert not find_changes(Repository(scratch.root), "main", {}).rules_changed


def test_a_released_skeleton_never_changes(scratch: Scratch) -> None:
    skeleton = scratch.root / "templates" / "linear_state" / "v1" / "ungated.py"
    skeleton.write_text(skeleton.read_text().replace("num_warps", "num_warps", 1) + "\n")
    scratch.commit()
    report = scratch.gate()
    edited = [located.path for located in report.findings if located.finding.rule == "ADM-EDITED"]
    assert edited == ["templates/linear_state/v1/ungated.py"]


def test_a_base_without_a_judge_is_said_and_the_present_one_decides(tmp_path: Path) -> None:
    scratch = Scratch.make(tmp_path / "bare", with_judge=False)
    scratch.add_honest()
    scratch.commit()
    report = scratch.gate()
    assert report.exit_code == 0
    assert report.judges == ("the installed judge",)
    assert any("no judge that can be run" in note for note in report.notes)


def test_a_judge_from_before_fresh_plans_is_helped_by_the_installed_one(scratch: Scratch) -> None:
    command_line = scratch.root / "verify" / "cli.py"
    scratch.git("switch", "--quiet", "main")
    command_line.write_text(command_line.read_text().replace("plan_seed", "other_seed"))
    scratch.commit()
    scratch.git("switch", "--quiet", "--create", "later")
    scratch.add_honest()
    scratch.commit()
    runner = QuickJudge()
    report = scratch.gate(runner)
    assert report.exit_code == 0
    names = [question.judge.name for question in runner.questions]
    assert names[0].startswith("the judge of the merge base")
    assert names[1] == "the installed judge"


def test_a_time_out_is_the_machines_fault(scratch: Scratch) -> None:
    scratch.add_honest()
    scratch.commit()
    assert scratch.gate(QuickJudge(slow="def forward")).exit_code == 3


def test_another_triton_skips_cmp_and_skipping_is_not_passing(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = scratch.add_honest()
    verdict = json.loads((folder / "verdict.json").read_bytes())
    scratch.commit()

    too_big = Finding(rule="CMP-SHARED", message="expected less shared memory, got more. Use smaller tiles.")

    class OtherCompiler(QuickJudge):
        def __call__(self, checkout, question):
            found = super().__call__(checkout, question)
            changed = {
                "stages": verdict["stages"] | {"CMP": "fail", "ADM": "fail"},
                "admission": "rejected",
                "findings": [too_big.to_json()],
            }
            return [
                one
                if question.plan_seed
                else dataclasses.replace(one, verdict={**one.verdict, **changed}, findings=(too_big,))
                for one in found
            ]

    monkeypatch.setattr(run, "installed_triton", lambda: "3.9.0")
    report = scratch.gate(OtherCompiler())
    assert report.exit_code == 4
    assert report.reports[0].stages["CMP"] == "skip"
    assert any("compared as skipped" in note for note in report.notes)


def test_jobs_do_not_change_the_report(scratch: Scratch) -> None:
    scratch.add_honest()
    scratch.add_broken()
    scratch.commit()
    reports = [scratch.gate(jobs=jobs).to_json() for jobs in (1, 2, 3)]
    assert reports[0] == reports[1] == reports[2]


def refusals(scratch: Scratch, runner: QuickJudge | None = None) -> tuple[list[str], GateReport]:
    scratch.commit()
    report = scratch.gate(runner)
    assert report.exit_code == (1 if report.findings else 0)
    return rules_of(report), report


def test_two_candidates_with_one_source_are_one_too_many(scratch: Scratch) -> None:
    folder = scratch.add_honest()
    twin = folder.with_name(f"another-name-{folder.name.rsplit('-', 1)[1]}")
    shutil.copytree(folder, twin)
    rules, report = refusals(scratch)
    assert rules == ["ADM-DUPLICATE"]
    (found,) = report.findings
    assert "the same source as" in found.finding.message


def test_a_candidate_with_other_names_for_the_same_thing_is_a_duplicate(scratch: Scratch) -> None:
    old = CANDIDATES[1]
    source = (old / "mechanism.py").read_text()
    changed = source.replace("In its slots:", "In its slots, again:", 1)
    assert changed != source
    target = scratch.add_changed(lambda _: changed, slug="again")
    rules, report = refusals(scratch)
    assert "ADM-DUPLICATE" in rules
    (found,) = [one for one in report.findings if one.finding.rule == "ADM-DUPLICATE"]
    assert old.name in found.finding.message
    assert target.name in found.path


def test_candidates_that_compute_the_same_are_duplicates(scratch: Scratch) -> None:
    folder = scratch.add_honest()
    verdict = json.loads((CANDIDATES[1] / "verdict.json").read_bytes())
    runner = QuickJudge()
    runner.computes(folder, verdict["behaviour"])
    rules, report = refusals(scratch, runner)
    assert rules == ["ADM-DUPLICATE"]
    assert "the same results" in report.findings[0].finding.message


def test_a_candidate_that_was_merged_in_the_meantime_is_a_duplicate(scratch: Scratch) -> None:
    folder = scratch.add_honest()
    scratch.commit()
    scratch.git("switch", "--quiet", "main")
    other = scratch.add_honest()
    other.rename(other.with_name(f"first-{folder.name.rsplit('-', 1)[1]}"))
    scratch.commit()
    scratch.git("switch", "--quiet", "pr")
    report = scratch.gate()
    assert rules_of(report) == ["ADM-DUPLICATE"]


def test_the_same_candidate_merged_in_the_meantime_is_none(scratch: Scratch) -> None:
    scratch.add_honest()
    scratch.commit()
    scratch.git("switch", "--quiet", "main")
    scratch.add_honest()
    scratch.commit("the same, by somebody else")
    scratch.git("switch", "--quiet", "pr")
    report = scratch.gate()
    assert [one.change for one in report.reports] == ["added"]
    assert report.exit_code == 0


def test_a_verdict_that_says_admitted_about_a_rejected_source_is_refused(scratch: Scratch) -> None:
    broken, _ = scratch.add_broken()
    rules, report = refusals(scratch)
    assert rules == ["ADM-VERDICT", "GRD-VALUE"]
    (found,) = [one for one in report.findings if one.finding.rule == "ADM-VERDICT"]
    assert found.path == f"candidates/linear_state/{broken.name}/verdict.json"
    assert 'admission: committed "admitted", judged "rejected"' in found.finding.message


def test_a_source_whose_hash_is_not_in_its_name_was_renamed_or_edited(scratch: Scratch) -> None:
    folder = scratch.add_honest()
    folder.rename(folder.with_name(f"{folder.name[:-8]}aaaaaaaa"))
    rules, report = refusals(scratch)
    assert rules == ["ADM-NAME"]
    assert "renamed by hand" in report.findings[0].finding.message


def test_a_source_edited_under_its_id_is_refused_where_it_changed(scratch: Scratch) -> None:
    file = scratch.folder_of(CANDIDATES[1]) / "mechanism.py"
    source = file.read_text()
    file.write_text(
        source.replace("num_warps", "num_warps", 1).replace('"num_warps": 4', '"num_warps": 2', 1)
    )
    assert digest_of(file.read_text()) != digest_of(source)
    rules, report = refusals(scratch)
    assert rules == ["ADM-EDITED", "ADM-NAME", "ADM-VERDICT"]
    (found,) = [one for one in report.findings if one.finding.rule == "ADM-EDITED"]
    line = found.finding.line or 0
    assert '"num_warps": 2' in file.read_text().splitlines()[line - 1]


def test_text_that_is_not_canonical_is_refused(scratch: Scratch) -> None:
    folder = scratch.add_honest()
    file = folder / "mechanism.py"
    file.write_text(file.read_text().replace("import torch\n", "import torch\n\n\n", 1))
    assert "LCK-NOT-CANONICAL" in refusals(scratch)[0]


def test_newer_rules_of_the_base_branch_are_named_and_do_not_judge(scratch: Scratch) -> None:
    scratch.add_honest()
    scratch.commit()
    scratch.git("switch", "--quiet", "main")
    rules = scratch.root / "verify" / "rules.py"
    old = rules.read_bytes()
    rules.write_bytes(old + b"# newer\n")
    scratch.commit()
    scratch.git("switch", "--quiet", "pr")
    runner = QuickJudge()
    report = scratch.gate(runner)
    assert [judge["verify/rules.py"] for judge in runner.judges] == [old, old]
    assert any("merge the base branch" in note for note in report.notes)


@pytest.mark.parametrize("base", ["nowhere", "--output=x", "HEAD:verify"])
def test_a_base_that_does_not_exist_is_wrong_usage(scratch: Scratch, base: str) -> None:
    with pytest.raises(WrongUsage, match="expected a commit, branch or tag"):
        scratch.gate(base=base)
