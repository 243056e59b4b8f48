"""A second look under another plan: other cases, never an admission, never remembered."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

from verify.judge.cache import CachingJudge, VerdictCache
from verify.judge.judge import Judge
from verify.judge.verdict import FULL_ISOLATION, Depth, Verdict

ROOT = Path(__file__).resolve().parents[3]
SOURCE = (ROOT / "templates" / "linear_state" / "v1" / "ungated.py").read_bytes()


class Counting:
    """The static judge, as if it had run confined; counts what it is asked."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def check(self, source: bytes, *, path: str, depth: Depth, root_seed: int = 0) -> Verdict:
        self.seeds.append(root_seed)
        verdict = Judge(None).check(source, path=path, depth=depth, root_seed=root_seed)
        return dataclasses.replace(verdict, isolation=FULL_ISOLATION)


def test_the_plan_depends_on_the_root_seed_and_on_nothing_else() -> None:
    judge = Judge(None)
    seeds = [
        judge.check(SOURCE, path="a.py", depth="static", root_seed=seed).plan_seed for seed in (0, 1, 2, 1)
    ]
    assert len(set(seeds)) == 3
    assert seeds[1] == seeds[3]
    assert judge.check(SOURCE, path="a.py", depth="static").plan_seed == seeds[0]


def test_a_redrawn_plan_is_neither_read_from_the_cache_nor_kept_in_it(tmp_path: Path) -> None:
    inner = Counting()
    judge = CachingJudge(lambda: inner, VerdictCache(tmp_path))
    kept = judge.check(SOURCE, path="a.py", depth="static")
    redrawn = judge.check(SOURCE, path="a.py", depth="static", root_seed=5)
    again = judge.check(SOURCE, path="a.py", depth="static", root_seed=5)
    assert inner.seeds == [0, 5, 5]
    assert redrawn.plan_seed == again.plan_seed != kept.plan_seed
    assert judge.check(SOURCE, path="a.py", depth="static").plan_seed == kept.plan_seed
    assert inner.seeds == [0, 5, 5]


def test_the_command_line_draws_another_plan_and_says_so() -> None:
    skeleton = "templates/linear_state/v1/ungated.py"
    seeds = []
    for arguments in ([], ["--plan-seed", "5"]):
        command = [
            sys.executable,
            "-m",
            "verify",
            "check",
            skeleton,
            "--depth",
            "static",
            "--json",
            "--no-cache",
        ]
        done = subprocess.run([*command, *arguments], cwd=ROOT, text=True, capture_output=True, check=True)
        (verdict,) = json.loads(done.stdout)["verdicts"]
        seeds.append(verdict["plan_seed"])
        assert set(verdict["shown"]) == {"counterexamples"}
    assert seeds[0] != seeds[1]
    assert "clean under plan seed 5" in done.stderr
