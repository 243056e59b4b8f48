from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.engine import judging
from harness.engine.judging import open_judge
from harness.engine.pool import REMEMBERED, JudgePool, JudgeTask
from harness.engine.recorded_verdicts import read_verdicts, verdict_key, verdicts_of_runs, write_verdicts
from harness.errors import HarnessError
from tests.harness.engine.fake_judge import FakeJudge, open_fake, open_remembered
from tests.harness.engine.test_design import run
from verify.judge.cache import VerdictCache
from verify.judge.verdict import Verdict

SOURCE = b"fine = 1\n"


def verdict(source: bytes = SOURCE) -> Verdict:
    given = FakeJudge().check(source, path="", depth="quick")
    return replace(given, measured={**given.measured, "throughput": [{"tokens_per_second": 2.5}]})


def recorded(folder: Path) -> Path:
    path = folder / "deep" / "verdicts.jsonl.gz"
    write_verdicts(path, {verdict_key(SOURCE, "quick"): verdict()})
    return path


def test_verdicts_are_read_as_they_were_written_and_the_same_ones_give_the_same_bytes(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    first = path.read_bytes()
    (known,) = read_verdicts(path).values()
    assert known == verdict()
    assert known.measured["throughput"] == [{"tokens_per_second": 2.5}]
    write_verdicts(path, read_verdicts(path))
    assert path.read_bytes() == first


def test_verdicts_by_other_rules_are_none(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    _, *lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    header = json.dumps({"rules": "0", "triton": "1.0"})
    path.write_bytes(gzip.compress("\n".join([header, *lines]).encode()))
    assert read_verdicts(path) == {}
    assert read_verdicts(tmp_path / "none") == {}


@pytest.mark.parametrize(
    "content", [b"", b"no gzip", gzip.compress(b"no json\n")], ids=["empty", "no gzip", "no json"]
)
def test_a_damaged_record_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "verdicts.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(HarnessError, match="expected recorded verdicts"):
        read_verdicts(path)


def test_runs_hold_the_verdicts_of_what_they_judged(tmp_path: Path) -> None:
    result = run(tmp_path)
    found = verdicts_of_runs([result.run_file.parent])
    for entry in result.state.entries:
        if entry.for_the_judge:
            assert found[verdict_key(entry.proposal.source.encode(), "quick")] == entry.quick


def test_what_is_recorded_or_cached_needs_no_server_and_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "_metered", lambda stack: pytest.fail("a server was asked for"))
    cached = b"fine = 2\n"
    VerdictCache(tmp_path / "cache").put(cached, verdict(cached))
    with open_judge(tmp_path / "cache", recorded=recorded(tmp_path)) as judge:
        for source in (SOURCE, cached):
            given = judge.check(source, path="a.py", depth="quick")
            assert given == verdict(source)
            assert given.measured[REMEMBERED] is True
            assert given.measured["cpu_seconds"] == 0.25


def test_what_nobody_knows_is_judged_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(FakeJudge):
        checked = 0

        def check(self, source: bytes, *, path: str, depth: str, root_seed: int = 0) -> Verdict:  # type: ignore[override]
            self.checked += 1
            given = super().check(source, path=path, depth=depth)  # type: ignore[arg-type]
            return replace(given, isolation="full")

    fresh = Counting()
    monkeypatch.setattr(judging, "_metered", lambda stack: fresh)
    monkeypatch.setattr("verify.judge.cache.FULL_ISOLATION", "full")
    with open_judge(tmp_path) as judge:
        assert REMEMBERED not in judge.check(SOURCE, path="a.py", depth="quick").measured
        assert judge.check(SOURCE, path="a.py", depth="quick").measured[REMEMBERED] is True
    assert fresh.checked == 1


def test_a_remembered_verdict_adds_no_cpu_seconds_to_a_run() -> None:
    task = JudgeTask(position=0, path="a.py", source=SOURCE, depth="quick")
    with JudgePool(open_fake, workers=1) as pool:
        ((_, judged),) = pool.judge([task])
    assert judged.cpu_seconds == 0.25
    with JudgePool(open_remembered, workers=1) as pool:
        ((_, judged),) = pool.judge([task])
    assert judged.cpu_seconds == 0.0
    assert judged.measured["cpu_seconds"] == 0.25
    assert REMEMBERED not in judged.measured
