from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.verify.sandbox.conftest import ROLES, children
from verify.sandbox.client import Limits, RemoteRefusal, Role, SandboxError, Server, WorkerFailure

QUICK = Limits(seconds=1.0, memory_bytes=256 << 20, reply_bytes=1 << 20)
ROOT = Path(__file__).resolve().parents[3]

KINDS = {
    "loop": "timeout",
    "allocate": "memory",
    "exit": "crashed",
    "sys.exit": "crashed",
    "segfault": "crashed",
    "abort": "crashed",
    "overflow the stack": "crashed",
    "unprintable": "crashed",
    "colour the terminal": "crashed",
    "reply to nothing": "malformed",
    "reply with noise": "malformed",
    "reply with a request": "malformed",
    "reply with a false refusal": "malformed",
    "announce a huge header": "oversized",
    "announce a huge blob": "oversized",
    "trickle": "timeout",
    "stop half way": "crashed",
    "hang up": "crashed",
}


def gone(pid: int, seconds: float = 5.0) -> bool:
    """Whether the process ends (being a zombie counts) within the time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("what", KINDS)
def test_a_misdeed_is_reported_as_its_kind(server: Server, what: str) -> None:
    begun = time.monotonic()
    with (
        server.worker("hostile", source=b"", limits=QUICK) as worker,
        pytest.raises(WorkerFailure) as failure,
    ):
        worker.call("misdeed", {"what": what})
    assert failure.value.kind == KINDS[what], failure.value
    assert time.monotonic() - begun < 10


def test_many_small_allocations_end_as_memory(server: Server) -> None:
    limits = Limits(memory_bytes=64 << 20, seconds=20)
    with (
        server.worker("hostile", source=b"", limits=limits) as worker,
        pytest.raises(WorkerFailure) as failure,
    ):
        worker.call("misdeed", {"what": "allocate in small steps"})
    assert failure.value.kind == "memory"


def test_cpu_time_is_bounded_even_if_the_signal_is_ignored(server: Server) -> None:
    limits = Limits(cpu_seconds=1, seconds=30)
    with (
        server.worker("hostile", source=b"", limits=limits) as worker,
        pytest.raises(WorkerFailure) as failure,
    ):
        worker.call("misdeed", {"what": "loop ignoring limits"})
    assert failure.value.kind == "timeout"


def test_used_up_cpu_time_is_a_timeout(server: Server) -> None:
    limits = Limits(cpu_seconds=1, seconds=30)
    with (
        server.worker("hostile", source=b"", limits=limits) as worker,
        pytest.raises(WorkerFailure) as failure,
    ):
        worker.call("misdeed", {"what": "loop"})
    assert failure.value.kind == "timeout"
    assert "CPU" in failure.value.detail


def test_a_python_error_is_reported_with_its_type_and_frames(server: Server) -> None:
    with server.worker("plain", source=b"") as worker, pytest.raises(WorkerFailure) as failure:
        worker.call("no such method", {})
    assert failure.value.kind == "crashed"
    assert "ValueError: unknown method no such method (plain_role.py:" in failure.value.detail


def test_control_characters_do_not_reach_the_terminal(server: Server) -> None:
    with server.worker("hostile", source=b"") as worker, pytest.raises(WorkerFailure) as failure:
        worker.call("misdeed", {"what": "colour the terminal"})
    assert "?[31mred?[0m?" in failure.value.detail


def test_a_gigabyte_on_standard_output_costs_nothing(server: Server) -> None:
    begun = time.monotonic()
    with server.worker("hostile", source=b"") as worker:
        assert worker.call("misdeed", {"what": "flood"}) == ({}, [])
    assert time.monotonic() - begun < 10


def test_two_replies_to_one_request_are_extra(server: Server) -> None:
    with pytest.raises(WorkerFailure) as failure, server.worker("hostile", source=b"") as worker:
        worker.call("misdeed", {"what": "reply twice"})
        time.sleep(0.1)
    assert failure.value.kind == "extra"


def test_a_late_second_reply_is_extra_before_the_next_request(server: Server) -> None:
    with server.worker("hostile", source=b"") as worker:
        worker.call("misdeed", {"what": "reply again later"})
        time.sleep(0.4)
        with pytest.raises(WorkerFailure) as failure:
            worker.submit("look", {})
    assert failure.value.kind == "extra"


def test_a_late_second_reply_is_extra_at_close(server: Server) -> None:
    worker = server.worker("hostile", source=b"")
    worker.call("misdeed", {"what": "reply again later"})
    time.sleep(0.4)
    with pytest.raises(WorkerFailure) as failure:
        worker.close()
    assert failure.value.kind == "extra"


def test_a_frame_written_before_the_request_is_no_answer(server: Server) -> None:
    source = b"from tests.verify.sandbox.hostile_role import *\nlater(0, reply_bytes(bytes(16)))"
    with server.worker("hostile", source=source) as worker, pytest.raises(WorkerFailure) as failure:
        worker.call("look", {})
        time.sleep(0.1)
        worker.call("look", {})
    assert failure.value.kind in {"malformed", "extra"}


def test_a_lie_in_the_right_form_is_only_data(server: Server) -> None:
    with server.worker("hostile", source=b"") as worker:
        assert worker.call("misdeed", {"what": "answer by itself"}) == ({"by": "the candidate"}, [])


def test_a_reply_over_the_limit_is_oversized(server: Server) -> None:
    with (
        server.worker("hostile", source=b"", limits=QUICK) as worker,
        pytest.raises(WorkerFailure) as failure,
    ):
        worker.call("reply", {"bytes": (1 << 20) + 1})
    assert failure.value.kind == "oversized"


def test_a_reply_within_the_limit_arrives_whole(server: Server) -> None:
    with server.worker("hostile", source=b"") as worker:
        _, blobs = worker.call("reply", {"bytes": 20 << 20})
    assert blobs == [bytes(20 << 20)]


def test_a_thread_that_goes_on_after_the_reply_ends_with_the_worker(server: Server) -> None:
    with server.worker("hostile", source=b"") as worker:
        worker.call("misdeed", {"what": "keep a thread"})
        pid = worker.pid
    assert not Path(f"/proc/{pid}").exists()


def test_a_dead_worker_repeats_its_failure(server: Server) -> None:
    with server.worker("hostile", source=b"", limits=QUICK) as worker:
        for _ in range(2):
            with pytest.raises(WorkerFailure, match="no complete reply"):
                worker.call("misdeed", {"what": "loop"})


def test_blobs_and_headers_come_back_as_sent(server: Server) -> None:
    header = {"text": "\u00e9\u4e2d\U0001f600", "numbers": [1, 0.5, None, True], "nested": {"b": 1, "a": {}}}
    blobs = [b"", b"abc", bytes(range(256)) * 5000, memoryview(b"abcdef")[1:3]]
    with server.worker("plain", source=b"") as worker:
        assert worker.call("echo", header, blobs) == (header, [bytes(blob) for blob in blobs])


def test_thousands_of_blobs_come_back_as_sent(server: Server) -> None:
    blobs = [bytes([number % 256]) * (number % 7) for number in range(5000)]
    with server.worker("plain", source=b"") as worker:
        assert worker.call("echo", {}, blobs)[1] == blobs


def test_the_source_reaches_only_its_worker(server: Server) -> None:
    with server.worker("plain", source=b"first") as one, server.worker("plain", source=b"second") as other:
        assert other.call("source", {})[1] == [b"second"]
        assert one.call("source", {})[1] == [b"first"]


def test_a_refusal_keeps_rule_message_and_line(server: Server) -> None:
    refusal = {"rule": "CON-READ", "message": "expected no value, got one", "line": 12}
    with server.worker("plain", source=b"") as worker:
        with pytest.raises(RemoteRefusal) as refused:
            worker.call("refuse", refusal)
        assert (refused.value.rule, refused.value.message, refused.value.line) == tuple(refusal.values())
        assert worker.call("echo", {}) == ({}, [])


def test_a_refused_source_is_refused_at_every_call(server: Server) -> None:
    with server.worker("plain", source=b"refuse to open") as worker:
        worker.submit("echo", {})
        for _ in range(2):
            with pytest.raises(RemoteRefusal, match="CON-TEST"):
                worker.result()


def test_a_source_that_fails_to_open_is_a_crash(server: Server) -> None:
    with (
        server.worker("hostile", source=b"import os; os._exit(0)") as worker,
        pytest.raises(WorkerFailure) as failure,
    ):
        worker.call("look", {})
    assert failure.value.kind == "crashed"


def test_requests_of_several_workers_overlap(server: Server) -> None:
    workers = [server.worker("plain", source=b"%d" % number) for number in range(4)]
    for worker in workers:
        worker.submit("source", {})
    assert [worker.result()[1] for worker in reversed(workers)] == [[b"3"], [b"2"], [b"1"], [b"0"]]
    for worker in workers:
        worker.close()


def test_a_second_request_waits_for_the_first_result(server: Server) -> None:
    with server.worker("plain", source=b"") as worker:
        worker.submit("echo", {})
        with pytest.raises(ValueError, match="expected result"):
            worker.submit("echo", {})
        assert worker.result() == ({}, [])


def test_an_unknown_role_is_refused(server: Server) -> None:
    with pytest.raises(WorkerFailure) as failure:
        server.worker("trace", source=b"")
    assert failure.value.kind == "refused"
    assert "no such role" in failure.value.detail


def test_a_role_that_cannot_be_loaded_is_refused_with_the_reason(server: Server) -> None:
    with pytest.raises(WorkerFailure, match="no_such_module cannot be loaded: ModuleNotFoundError"):
        server.worker("broken", source=b"")


def test_cpu_seconds_are_counted(server: Server) -> None:
    limits = Limits(seconds=0.5)
    with server.worker("hostile", source=b"", limits=limits) as worker:
        with pytest.raises(WorkerFailure):
            worker.call("misdeed", {"what": "loop"})
        assert worker.cpu_seconds > 0.0


def test_two_servers_work_side_by_side(server: Server) -> None:
    with (
        Server(roles=ROLES, preload=()) as second,
        second.worker("plain", source=b"2") as other,
        server.worker("plain", source=b"1") as one,
    ):
        assert (one.call("source", {})[1], other.call("source", {})[1]) == ([b"1"], [b"2"])


def test_closing_a_server_ends_its_workers_and_removes_its_folder() -> None:
    server = Server(roles=ROLES, preload=()).start()
    worker = server.worker("plain", source=b"")
    worker.ready()
    scratch, pids = Path(str(server._scratch)), (server.pid, worker.pid)
    server.close()
    server.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not scratch.exists()
    with pytest.raises(SandboxError, match="Start a new Server"):
        server.worker("plain", source=b"")


def test_a_killed_server_takes_its_workers_along() -> None:
    with Server(roles=ROLES, preload=()) as server:
        worker = server.worker("plain", source=b"")
        worker.ready()
        os.kill(server.pid, signal.SIGKILL)
        assert gone(worker.pid)
        with pytest.raises(SandboxError, match="server"):
            worker.call("echo", {})
        scratch = Path(str(server._scratch))
    assert not scratch.exists()


def test_a_killed_judge_leaves_nothing_behind() -> None:
    program = (
        "import time\nfrom tests.verify.sandbox.conftest import ROLES\n"
        "from verify.sandbox.client import Server\n"
        "server = Server(roles=ROLES, preload=())\nworker = server.worker('hostile', source=b'')\n"
        "worker.submit('misdeed', {'what': 'loop'})\n"
        "print(server.pid, worker.pid, server._scratch, flush=True)\ntime.sleep(1000)\n"
    )
    judge = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert judge.stdout is not None
    server, worker, scratch = judge.stdout.readline().split()
    judge.kill()
    judge.wait()
    judge.stdout.close()
    assert gone(int(worker))
    assert gone(int(server))
    assert not Path(scratch).exists()


def test_an_interrupt_from_the_terminal_reaches_neither_server_nor_worker(server: Server) -> None:
    with server.worker("plain", source=b"") as worker:
        worker.ready()
        sessions = {os.getsid(pid) for pid in (server.pid, worker.pid)}
    assert sessions == {server.pid, worker.pid}
    assert os.getsid(0) not in sessions


def test_a_server_that_cannot_start_says_why() -> None:
    with (
        Server(roles={}, preload=("no_such_module_at_all",)) as server,
        pytest.raises(SandboxError, match="No module named 'no_such_module_at_all'"),
    ):
        assert server.isolation


def test_starting_does_not_wait_for_the_imports() -> None:
    begun = time.monotonic()
    server = Server(roles={"plain": Role(module="tests.verify.sandbox.plain_role")}).start()
    assert time.monotonic() - begun < 0.5
    server.close()


def test_a_closed_worker_is_reaped(server: Server) -> None:
    with server.worker("plain", source=b"") as worker:
        worker.ready()
        assert children(server.pid) == [worker.pid]
    assert children(server.pid) == []


def test_ending_a_worker_during_a_call_fails_the_call(server: Server) -> None:
    worker = server.worker("hostile", source=b"")
    with ThreadPoolExecutor(max_workers=1) as pool:
        call = pool.submit(worker.call, "misdeed", {"what": "loop"})
        time.sleep(0.2)
        worker.close()
        with pytest.raises(WorkerFailure, match="was closed"):
            call.result()


def test_workers_may_fail_in_several_threads_at_once(server: Server) -> None:
    def fail(number: int) -> str:
        with (
            server.worker("hostile", source=b"", limits=QUICK) as worker,
            pytest.raises(WorkerFailure) as failure,
        ):
            worker.call("misdeed", {"what": ("exit", "segfault", "reply with noise")[number % 3]})
        return failure.value.kind

    with ThreadPoolExecutor(max_workers=6) as pool:
        assert list(pool.map(fail, range(24))) == ["crashed", "crashed", "malformed"] * 8
