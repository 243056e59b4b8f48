"""`runs`, `show`, `export`, `resume`: a run read and gone on with from its folder alone."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from harness.commands import design, run_export, run_list, run_resume, run_show
from harness.commands.command_file import COMMAND_FILE, read_command, write_command
from harness.commands.design_agents import AgentRequest
from harness.commands.design_request import DesignRequest
from harness.engine.allowance import Allowance
from harness.engine.run_folder import RUN_FILE
from harness.errors import HarnessError, WrongUsage
from harness.locks import exclusive
from harness.store import Store
from tests.harness.engine.fake_judge import open_fake


def request(folder: Path, **fields: object) -> DesignRequest:
    values: dict[str, object] = {
        "family": "linear_state",
        "budget": 12,
        "admit": 12,
        "seed": 0,
        "out": folder / "out",
        "runs": folder / "runs",
        "depth": "full",
        "workers": 1,
        "as_json": False,
        "output": None,
        "objective": "lines",
        **fields,
    }
    return DesignRequest(**values)  # type: ignore[arg-type]


def printed(command: Callable[[Console], int]) -> tuple[int, str]:
    stream = io.StringIO()
    code = command(Console(file=stream, width=160))
    return code, stream.getvalue()


def begun(folder: Path, **fields: object) -> tuple[str, str]:
    """The id of a run and what it printed."""
    _, text = printed(
        lambda out: design.run(request(folder, **fields), stdout=out, stderr=silent(), judges=open_fake)
    )
    (run,) = [path.parent.name for path in (folder / "runs").glob(f"*/{RUN_FILE}")]
    return run, text


def silent() -> Console:
    return Console(file=io.StringIO())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    folder = tmp_path_factory.mktemp("run")
    return (folder, *begun(folder))


def events(folder: Path) -> list[tuple[str, str]]:
    with Store(folder / RUN_FILE, read_only=True) as store:
        return [(event.kind, json.dumps(event.body, sort_keys=True)) for event in store.events()]


def test_runs_are_listed_with_what_they_found(finished: tuple[Path, str, str]) -> None:
    folder, run, _ = finished
    code, text = printed(
        lambda out: run_list.run(runs=folder / "runs", as_json=True, stdout=out, stderr=silent())
    )
    (line,) = json.loads(text)
    assert code == 0
    assert (line["run"], line["proposals"], line["budget"]) == (run, 12, 12)
    assert line["admitted"] > 0
    code, text = printed(
        lambda out: run_list.run(runs=folder / "runs", as_json=False, stdout=out, stderr=silent())
    )
    assert code == 0
    assert "12 of 12" in text


def test_no_runs_is_nothing_to_check(tmp_path: Path) -> None:
    assert run_list.run(runs=tmp_path, as_json=False, stdout=silent(), stderr=silent()) == 5


def test_a_damaged_run_is_named_and_the_others_are_listed(tmp_path: Path) -> None:
    begun(tmp_path, budget=1)
    bad = tmp_path / "runs" / "bad" / RUN_FILE
    bad.parent.mkdir()
    bad.write_text("no database")
    errors = io.StringIO()
    code, text = printed(
        lambda out: run_list.run(
            runs=tmp_path / "runs", as_json=False, stdout=out, stderr=Console(file=errors, width=300)
        )
    )
    assert code == 0
    assert str(bad) in errors.getvalue()
    assert "1 runs under" in text


def test_a_run_is_shown_as_a_tree_in_which_children_lie_under_their_parents(
    finished: tuple[Path, str, str],
) -> None:
    folder, run, _ = finished
    code, text = printed(lambda out: run_show.run(run, runs=folder / "runs", as_json=False, stdout=out))
    assert code == 0
    lines = text.splitlines()
    depth = {}
    for line in lines:
        if "#" in line:
            depth[int(line.partition("#")[2].split()[0])] = line.index("#")
    assert sorted(depth) == list(range(1, 13))
    _, told = printed(lambda out: run_show.run(run, runs=folder / "runs", as_json=True, stdout=out))
    proposals = json.loads(told)["proposals"]
    grown = [one for one in proposals if one["parent"] is not None]
    assert grown
    assert all(depth[one["number"]] > depth[one["parent"]] for one in grown)


def test_an_export_holds_every_event_and_every_source(
    finished: tuple[Path, str, str], tmp_path: Path
) -> None:
    folder, run, _ = finished
    output = tmp_path / "run.jsonl"
    assert run_export.run(run, runs=folder / "runs", output=output, stdout=silent()) == 0
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    proposed = [line for line in lines if line["kind"] == "proposed"]
    assert len(proposed) == 12
    assert all(line["source"].startswith('"""') for line in proposed)
    code, text = printed(
        lambda out: run_export.run(str(folder / "runs" / run), runs=Path("x"), output=None, stdout=out)
    )
    assert code == 0
    assert text == output.read_text()


@pytest.mark.parametrize("command", [run_show.run, run_export.run])
def test_an_unknown_run_names_those_there_are(
    finished: tuple[Path, str, str], command: Callable[..., int]
) -> None:
    folder, run, _ = finished
    more = {"as_json": False} if command is run_show.run else {"output": None}
    with pytest.raises(WrongUsage, match=run):
        command(f"{run}x", runs=folder / "runs", stdout=silent(), **more)


def test_a_run_goes_on_from_its_folder_alone(finished: tuple[Path, str, str], tmp_path: Path) -> None:
    whole, _, text = finished
    run, _ = begun(tmp_path, seconds=1e-9)
    folder = tmp_path / "runs" / run
    assert len(events(folder)) < len(events(whole / "runs" / run))
    code, again = printed(
        lambda out: run_resume.run(
            run,
            runs=tmp_path / "runs",
            seconds=1e9,
            workers=2,
            stdout=out,
            stderr=silent(),
            judges=open_fake,
        )
    )
    assert code == 0
    assert events(folder) == events(whole / "runs" / run)
    assert again.splitlines()[-1] == text.splitlines()[-1]


def test_a_request_is_read_as_it_was_written(tmp_path: Path) -> None:
    agents = (
        AgentRequest(
            kind="replay", name="r", answers=tmp_path / "a", share=2, allowance=Allowance(usd=0.5, tokens=9)
        ),
        AgentRequest(name="g", policy="greedy"),
    )
    wanted = request(tmp_path, agents=agents, usd=1.0, output=tmp_path / "o.json")
    write_command(wanted, tmp_path / "run")
    assert read_command(tmp_path / "run") == wanted
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [COMMAND_FILE]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"agents": [], "output": null}'])
def test_a_damaged_request_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / COMMAND_FILE).write_text(text)
    with pytest.raises(HarnessError, match="Give the command that began the run once more"):
        read_command(tmp_path)


def test_a_run_without_a_request_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="Give the command that began the run once more"):
        read_command(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("budget", "4"),
        ("budget", 0),
        ("seed", 1.5),
        ("depth", "x"),
        ("workers", "2"),
        ("workers", -1),
        ("family", None),
        ("out", None),
        ("agents", []),
        ("seconds", "3"),
        ("unknown", 1),
    ],
)
def test_a_request_with_a_value_that_no_option_takes_is_damaged(
    tmp_path: Path, field: str, value: object
) -> None:
    write_command(request(tmp_path), tmp_path)
    path = tmp_path / COMMAND_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(HarnessError, match=field):
        read_command(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"), [("kind", "x"), ("share", 0), ("concurrency", "8"), ("allowance", {"cents": 3})]
)
def test_an_agent_of_a_request_is_read_as_exactly(tmp_path: Path, field: str, value: object) -> None:
    write_command(request(tmp_path), tmp_path)
    path = tmp_path / COMMAND_FILE
    data = json.loads(path.read_text())
    data["agents"][0][field] = value
    path.write_text(json.dumps(data))
    with pytest.raises(HarnessError, match=rf"agents\.0\.{field}"):
        read_command(tmp_path)


def test_a_request_nested_without_end_is_damaged(tmp_path: Path) -> None:
    (tmp_path / COMMAND_FILE).write_text("[" * 100_000)
    with pytest.raises(HarnessError, match="Give the command that began the run once more"):
        read_command(tmp_path)


def resumed(run: str, runs: Path) -> tuple[int, str]:
    return printed(
        lambda out: run_resume.run(
            run, runs=runs, seconds=1e9, workers=1, stdout=out, stderr=silent(), judges=open_fake
        )
    )


def test_resuming_never_begins_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = begun(tmp_path, budget=2)
    command = (tmp_path / "runs" / run / COMMAND_FILE).read_bytes()
    before = events(tmp_path / "runs" / run)
    monkeypatch.setattr("harness.engine.settings.RULES_VERSION", "9999")
    with pytest.raises(HarnessError, match=r'rules: "\d+" then, "9999" now'):
        resumed(run, tmp_path / "runs")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [run]
    assert events(tmp_path / "runs" / run) == before
    assert (tmp_path / "runs" / run / COMMAND_FILE).read_bytes() == command


def test_a_changed_request_is_not_what_the_run_was_begun_with(tmp_path: Path) -> None:
    run, _ = begun(tmp_path, budget=2)
    path = tmp_path / "runs" / run / COMMAND_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "budget": 3}))
    with pytest.raises(HarnessError, match="budget: 2 then, 3 now"):
        resumed(run, tmp_path / "runs")


def test_a_copied_run_goes_on_where_it_is(tmp_path: Path) -> None:
    run, _ = begun(tmp_path, seconds=1e-9)
    copy = tmp_path / "elsewhere" / "mine"
    shutil.copytree(tmp_path / "runs" / run, copy)
    before = events(tmp_path / "runs" / run)
    assert resumed(str(copy), tmp_path / "runs")[0] == 0
    assert len(events(copy)) > len(before)
    assert events(tmp_path / "runs" / run) == before
    assert [path.name for path in copy.parent.iterdir()] == ["mine"]


def test_a_process_that_is_refused_changes_nothing_of_the_run_under_way(tmp_path: Path) -> None:
    run, _ = begun(tmp_path, budget=2)
    folder = tmp_path / "runs" / run
    command = (folder / COMMAND_FILE).read_bytes()
    other = request(tmp_path, budget=2, out=tmp_path / "other", as_json=True)
    with exclusive(folder), pytest.raises(HarnessError, match="another run is using it"):
        design.run(other, stdout=silent(), stderr=silent(), judges=open_fake)
    assert (folder / COMMAND_FILE).read_bytes() == command


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM events WHERE seq = 3",
        "UPDATE events SET body = '[1]' WHERE kind = 'judged'",
        "UPDATE events SET body = json_set(body, '$.score', 'high') WHERE kind = 'scored'",
        "UPDATE events SET body = json_set(body, '$.position', 7) WHERE kind = 'proposed'",
        "UPDATE events SET body = json_remove(body, '$.verdict') WHERE kind = 'judged'",
        f"UPDATE events SET body = '{'[' * 100_000}' WHERE kind = 'judged'",
    ],
)
def test_whoever_reads_a_damaged_run_says_so(tmp_path: Path, change: str) -> None:
    run, _ = begun(tmp_path, budget=3)
    raw = sqlite3.connect(tmp_path / "runs" / run / RUN_FILE)
    for trigger in ("events_stay", "events_last"):
        raw.execute(f"DROP TRIGGER {trigger}")
    assert raw.execute(change).rowcount > 0
    raw.commit()
    raw.close()
    runs = tmp_path / "runs"
    errors = io.StringIO()
    listing = Console(file=errors, width=300)
    assert run_list.run(runs=runs, as_json=False, stdout=silent(), stderr=listing) == 5
    assert "damaged" in errors.getvalue()
    with pytest.raises(HarnessError, match="damaged"):
        run_show.run(run, runs=runs, as_json=False, stdout=silent())
    with pytest.raises(HarnessError, match="damaged"):
        resumed(run, runs)


def test_names_of_agents_are_no_markup(tmp_path: Path) -> None:
    agents = (AgentRequest(name="[/]"), AgentRequest(name="[red]b\x1b[2J", policy="greedy"))
    run, text = begun(tmp_path, budget=4, agents=agents)
    _, shown = printed(lambda out: run_show.run(run, runs=tmp_path / "runs", as_json=False, stdout=out))
    for told in (text, shown):
        assert "[/]" in told
        assert "[red]b" in told
        assert "\x1b[2J" not in told
