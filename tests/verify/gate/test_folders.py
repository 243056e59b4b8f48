"""What a candidate folder must be: files, name, and append-only."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.verify.gate.scratch import CANDIDATES, QuickJudge, Scratch, rules_of
from verify.gate.records import GateReport


def gate(scratch: Scratch, runner: QuickJudge | None = None) -> GateReport:
    scratch.commit()
    return scratch.gate(runner)


@pytest.mark.parametrize("name", ["notes.txt", "measured/cpu.txt", "measured/deep/cpu.json", "__init__.py"])
def test_a_file_that_no_candidate_has_is_refused(scratch: Scratch, name: str) -> None:
    folder = scratch.add_honest()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}")
    report = gate(scratch)
    assert rules_of(report) == ["ADM-LAYOUT"]
    assert [located.path for located in report.findings] == [f"candidates/linear_state/{folder.name}/{name}"]


@pytest.mark.parametrize("name", ["mechanism.py", "verdict.json", "measured/cpu.json"])
def test_a_missing_file_is_refused(scratch: Scratch, name: str) -> None:
    folder = scratch.add_honest()
    (folder / name).unlink()
    report = gate(scratch)
    assert rules_of(report) == ["ADM-LAYOUT"]
    assert "found none" in report.findings[0].finding.message


@pytest.mark.parametrize("text", ["[1, 2]", "{", "[" * 100_000])
def test_measured_numbers_that_are_no_json_object_are_refused(scratch: Scratch, text: str) -> None:
    folder = scratch.add_honest()
    (folder / "measured" / "cpu.json").write_text(text)
    report = gate(scratch)
    assert rules_of(report) == ["ADM-LAYOUT"]


def test_a_linked_mechanism_is_refused_and_not_opened(scratch: Scratch) -> None:
    folder = scratch.add_honest()
    (folder / "mechanism.py").unlink()
    (folder / "mechanism.py").symlink_to(scratch.folder_of(CANDIDATES[1]) / "mechanism.py")
    runner = QuickJudge()
    report = gate(scratch, runner)
    assert rules_of(report) == ["ADM-LAYOUT"]
    assert runner.questions == []


def test_a_linked_folder_is_refused_and_not_followed(scratch: Scratch) -> None:
    other = scratch.folder_of(CANDIDATES[1])
    (other.parent / "a-aaaaaaaa").symlink_to(other)
    runner = QuickJudge()
    report = gate(scratch, runner)
    assert rules_of(report) == ["ADM-LAYOUT"]
    assert runner.questions == []


def test_a_file_outside_of_the_candidate_folders_is_refused(scratch: Scratch) -> None:
    (scratch.root / "candidates" / "linear_state" / "README.md").write_text("read me")
    report = gate(scratch)
    assert report.exit_code == 1
    assert [located.path for located in report.strays] == ["candidates/linear_state/README.md"]


def test_the_family_folder_is_the_one_of_the_spec(scratch: Scratch) -> None:
    folder = scratch.add_honest()
    target = scratch.root / "candidates" / "softmax" / folder.name
    target.parent.mkdir()
    folder.rename(target)
    report = gate(scratch)
    assert rules_of(report) == ["ADM-NAME"]
    assert "candidates/linear_state/" in report.findings[0].finding.message


@pytest.mark.parametrize("name", ["no-id", "Upper-aaaaaaaa", "aaaaaaaa", "two--hyphens-aaaaaaaa"])
def test_a_name_without_slug_and_id_is_refused(scratch: Scratch, name: str) -> None:
    folder = scratch.add_honest()
    folder.rename(folder.with_name(name))
    assert rules_of(gate(scratch)) == ["ADM-NAME"]


@pytest.mark.parametrize("name", ["a b", "a\n::warning::b", "$(touch x)", "ä-aaaaaaaa", "-rf"])
def test_a_name_that_could_be_a_command_is_refused_unopened(scratch: Scratch, name: str) -> None:
    folder = scratch.add_honest()
    folder.rename(folder.with_name(name))
    runner = QuickJudge()
    report = gate(scratch, runner)
    assert "ADM-NAME" in rules_of(report)
    if name != "-rf":  # plain characters, so it may be judged; paths always have candidates/ before them
        assert runner.questions == []
    assert all("\n" not in located.render() for located in report.findings)


def test_a_candidate_of_the_base_stays(scratch: Scratch) -> None:
    shutil.rmtree(scratch.folder_of(CANDIDATES[1]))
    report = gate(scratch)
    assert rules_of(report) == ["ADM-REMOVED"]
    assert report.exit_code == 1


def test_a_candidate_that_the_base_removed_itself_may_be_absent(scratch: Scratch) -> None:
    for branch in ("pr", "main"):
        scratch.git("switch", "--quiet", branch)
        shutil.rmtree(scratch.folder_of(CANDIDATES[1]))
        scratch.commit(f"removed on {branch}")
    scratch.git("switch", "--quiet", "pr")
    assert scratch.gate().exit_code == 0


def test_a_candidate_renamed_by_hand_is_told_where_it_went(scratch: Scratch) -> None:
    old = scratch.folder_of(CANDIDATES[1])
    new = old.with_name(f"better-name-{old.name[-8:]}")
    old.rename(new)
    report = gate(scratch)
    (removed,) = [located for located in report.findings if located.finding.rule == "ADM-REMOVED"]
    assert new.name in removed.finding.message
    assert "renamed by hand" in removed.finding.message


@pytest.mark.parametrize(
    ("damage", "says", "line"),
    [
        (lambda text: text.replace('"NUM": "pass"', '"NUM": "n/a"'), "edited by hand", None),
        (lambda text: text[:40], "expected JSON", 3),
        (lambda _: "[]\n", "expected a JSON object", 1),
        (lambda _: "[" * 100_000, "expected JSON", 1),
        (lambda text: text.rstrip("\n"), "written in another way", None),
        (lambda text: json.dumps(json.loads(text)) + "\n", "written in another way", 1),
        (lambda text: text.replace('"rules": "', '"rules": "0.'), "verify refresh", None),
        (lambda _: (CANDIDATES[1] / "verdict.json").read_text(), "source_hash is another's", None),
        (lambda text: text.replace("{", '{\n  "note": 1,', 1), "note: committed 1, judged", 2),
    ],
)
def test_a_verdict_that_is_not_the_judges_is_refused_at_its_line(
    scratch: Scratch, damage, says: str, line: int | None
) -> None:
    folder = scratch.add_honest()
    file = folder / "verdict.json"
    text = file.read_text()
    file.write_text(damage(text))
    assert file.read_text() != text
    report = gate(scratch)
    assert rules_of(report) == ["ADM-VERDICT"]
    (found,) = report.findings
    assert found.path.endswith("/verdict.json")
    assert says in found.finding.message
    if line is not None:
        assert found.finding.line == line
