"""What the gate asks git, and what it says where git has no answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.verify.gate.scratch import ROOT, Scratch
from verify.gate.git import Repository, WrongUsage


def run_gate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); from verify.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, str(ROOT), "gate", *arguments],
        cwd=folder,
        text=True,
        capture_output=True,
        check=False,
    )


def test_outside_of_a_checkout_the_gate_is_wrong_usage(tmp_path: Path) -> None:
    done = run_gate(tmp_path, "--base", "main")
    assert done.returncode == 2
    assert "expected a git checkout" in done.stderr


def test_an_unknown_base_is_wrong_usage_and_says_what_to_fetch(scratch: Scratch) -> None:
    done = run_gate(scratch.root, "--base", "release")
    assert done.returncode == 2
    assert "git fetch origin release" in done.stderr


def test_an_unchanged_checkout_ends_with_5(scratch: Scratch) -> None:
    done = run_gate(scratch.root, "--base", "main", "--json")
    assert done.returncode == 5, done.stderr
    assert '"exit_code": 5' in done.stdout


def test_a_base_that_only_the_remote_has_is_suggested(scratch: Scratch, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    scratch.git("clone", "--quiet", "--branch", "pr", str(scratch.root), str(clone))
    with pytest.raises(WrongUsage, match="Did you mean origin/main"):
        Repository(clone).commit("main")


def test_a_shallow_clone_says_how_to_deepen_it(scratch: Scratch, tmp_path: Path) -> None:
    scratch.add_honest()
    scratch.commit()
    clone = tmp_path / "shallow"
    source = scratch.root.as_uri()
    scratch.git("clone", "--quiet", "--depth=1", "--no-single-branch", "--branch=pr", source, str(clone))
    repository = Repository(clone)
    with pytest.raises(WrongUsage, match="fetch-depth: 0"):
        repository.merge_base(repository.commit("origin/main"))


def test_histories_that_share_nothing_are_wrong_usage(scratch: Scratch) -> None:
    scratch.git("switch", "--quiet", "--orphan", "alone")
    (scratch.root / "file.txt").write_text("alone")
    scratch.commit()
    with pytest.raises(WrongUsage, match="share a commit"):
        Repository(scratch.root).merge_base(Repository(scratch.root).commit("main"))


def test_a_hooks_variables_do_not_lead_elsewhere(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    assert Repository.around(scratch.root / "templates").root == scratch.root


def test_the_files_of_a_commit_are_its_own_and_not_those_on_disk(scratch: Scratch) -> None:
    file = scratch.root / "verify" / "seeds.py"
    committed = file.read_bytes()
    file.write_text("changed\n")
    repository = Repository(scratch.root)
    tree = repository.tree(repository.commit("HEAD"), "verify", "no-such-folder")
    assert tree["verify/seeds.py"] == committed
    assert {path.split("/")[0] for path in tree} == {"verify"}


def test_changes_are_committed_staged_and_untracked_ones_but_not_ignored_ones(scratch: Scratch) -> None:
    repository = Repository(scratch.root)
    base = repository.commit("main")
    names = ("committed.py", "staged.py", "untracked.py", "ignored.pyc")
    for name in names:
        (scratch.root / "verify" / name).write_text("x = 1\n")
    (scratch.root / ".gitignore").write_text("*.pyc\n")
    scratch.git("add", "verify/committed.py")
    scratch.git("commit", "--quiet", "--message", "one")
    scratch.git("add", "verify/staged.py")
    (scratch.root / "verify" / "seeds.py").unlink()
    changed = repository.changed(base, ["verify"])
    assert changed == {
        "verify/committed.py": "A",
        "verify/staged.py": "A",
        "verify/untracked.py": "A",
        "verify/seeds.py": "D",
    }
    assert set(repository.dirty(["verify"])) == set(changed) - {"verify/committed.py"}
