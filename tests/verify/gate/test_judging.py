"""A judge runs from its own folder, and nothing of the checkout or the environment reaches it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from verify.errors import InfrastructureError
from verify.gate.judging import (
    CheckProcesses,
    JudgeFolder,
    Question,
    ask_all,
    judge_from_files,
    read_answers,
)
from verify.gate.records import Judged

# A judge that says where it found things; `shown` carries what it saw.
CLI = b"""
import json, os, sys
def main():
    import verify
    try:
        import torch_that_lies
        lies = True
    except ImportError:
        lies = False
    arguments = sys.argv[1:]
    files = arguments[arguments.index("--") + 1:]
    saw = json.dumps({"verify": verify.__file__, "lies": lies, "path": sys.path, "arguments": arguments,
                      "environment": dict(os.environ), "cwd": os.getcwd()})
    rows = [{"path": f, "admission": "admitted", "stages": {"PAR": "pass"}, "findings": [],
             "shown": {"counterexamples": [saw]}} for f in files]
    with open(arguments[arguments.index("--output") + 1], "w") as file:
        json.dump({"verdicts": rows}, file)
    print("checking", *files, file=sys.stderr)
    sys.exit(EXIT)
"""


def judge_files(code: int = 0, cli: bytes = CLI) -> dict[str, bytes]:
    return {"verify/__init__.py": b"", "verify/cli.py": cli.replace(b"EXIT", str(code).encode())}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that would like to be imported."""
    for name in ("torch_that_lies.py", "json.py", "verify/__init__.py", "verify/cli.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise SystemExit(0)\n")
    return tmp_path


def test_a_judge_finds_itself_and_nothing_of_the_checkout(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(checkout))
    monkeypatch.setenv("PYTHONSTARTUP", str(checkout / "json.py"))
    monkeypatch.setenv("VERIFY_MODE", "gentle")
    with judge_from_files(judge_files(), "a judge") as judge:
        (answer,) = CheckProcesses()(checkout, Question(judge=judge, files=("a.py",), plan_seed=9))
        saw = json.loads(answer.counterexamples[0])
        assert saw["verify"] == str(judge.root / "verify" / "__init__.py")
        assert str(judge.root) not in saw["path"]
    assert not saw["lies"]
    assert str(checkout) not in saw["path"]
    assert "" not in saw["path"]
    assert {"PYTHONPATH", "PYTHONSTARTUP", "VERIFY_MODE"}.isdisjoint(saw["environment"])
    assert saw["cwd"] == str(checkout)
    assert {"--no-cache", "--plan-seed", "9"} <= set(saw["arguments"])


@pytest.mark.parametrize("code", [0, 1, 3, 4])
def test_every_way_to_finish_gives_answers(checkout: Path, code: int) -> None:
    with judge_from_files(judge_files(code), "a judge") as judge:
        answers = CheckProcesses()(checkout, Question(judge=judge, files=("a.py", "b.py")))
    assert [answer.path for answer in answers] == ["a.py", "b.py"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (judge_files(2), "exit code 2"),
        (judge_files(cli=b"def main():\n    raise SystemExit('no landlock here')\n"), "no landlock here"),
        (judge_files(cli=b"def main():\n    pass\n"), "no verdicts"),
    ],
)
def test_a_judge_that_cannot_work_is_infrastructure(
    checkout: Path, files: dict[str, bytes], says: str
) -> None:
    with (
        judge_from_files(files, "a judge") as judge,
        pytest.raises(InfrastructureError, match=says),
    ):
        CheckProcesses()(checkout, Question(judge=judge, files=("a.py",)))


ROW = {"path": "a.py", "admission": "admitted", "stages": {"PAR": "pass"}, "findings": []}


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b'{"verdicts": 3}',
        b'{"verdicts": []}',
        *(
            json.dumps({"verdicts": [ROW | change]}).encode()
            for change in ({"path": "b.py"}, {"admission": "maybe"}, {"stages": {}}, {"findings": [7]})
        ),
    ],
)
def test_a_document_about_something_else_is_no_answer(document: bytes) -> None:
    question = Question(judge=JudgeFolder(root=Path("/nowhere"), name="a judge"), files=("a.py",))
    with pytest.raises(InfrastructureError, match="a judge"):
        read_answers(document, question)


def test_a_document_about_the_file_is_an_answer() -> None:
    question = Question(judge=JudgeFolder(root=Path("/nowhere"), name="a judge"), files=("a.py",))
    (answer,) = read_answers(json.dumps({"verdicts": [ROW]}).encode(), question)
    assert answer.admission == "admitted"


def judged(path: str) -> Judged:
    verdict = {"admission": "admitted", "stages": {"PAR": "pass"}}
    return Judged(path=path, verdict=verdict, findings=(), counterexamples=())


def test_questions_are_dealt_out_and_answered_in_order() -> None:
    asked: list[tuple[str, ...]] = []
    lock = threading.Lock()

    def runner(checkout: Path, question: Question) -> list[Judged]:
        with lock:
            asked.append(question.files)
        return [judged(path) for path in question.files]

    judge = JudgeFolder(root=Path("/nowhere"), name="a judge")
    files = tuple(f"{index}.py" for index in range(7))
    questions = [Question(judge=judge, files=files), Question(judge=judge, files=())]
    answers = ask_all(runner, Path("/"), questions, jobs=3)
    assert [[one.path for one in answer] for answer in answers] == [list(files), []]
    assert sorted(map(len, asked)) == [2, 2, 3]


def test_one_judge_that_cannot_work_stops_the_others() -> None:
    class Runner:
        stopped = False

        def __call__(self, checkout: Path, question: Question) -> list[Judged]:
            raise InfrastructureError("no landlock here")

        def stop(self) -> None:
            self.stopped = True

    runner = Runner()
    judge = JudgeFolder(root=Path("/nowhere"), name="a judge")
    with pytest.raises(InfrastructureError, match="no landlock here"):
        ask_all(runner, Path("/"), [Question(judge=judge, files=("a.py", "b.py"))], jobs=2)
    assert runner.stopped


def test_stopping_ends_a_judge_that_is_at_work(checkout: Path) -> None:
    slow = b"import time\nprint('checking', file=__import__('sys').stderr, flush=True)\ntime.sleep(600)\n"
    runner = CheckProcesses()
    errors: list[Exception] = []

    def work(judge: JudgeFolder) -> None:
        try:
            runner(checkout, Question(judge=judge, files=("a.py",)))
        except InfrastructureError as error:
            errors.append(error)

    with judge_from_files(judge_files(cli=slow), "a judge") as judge:
        thread = threading.Thread(target=work, args=(judge,))
        thread.start()
        runner.stop()
        thread.join(timeout=60)
        assert not thread.is_alive()
        assert len(errors) == 1
        with pytest.raises(InfrastructureError, match="stopped"):
            runner(checkout, Question(judge=judge, files=("a.py",)))
