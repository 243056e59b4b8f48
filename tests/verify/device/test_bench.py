"""Timing from end to end: what is timed must leave the results of its inputs."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.verify.device.stand_in import kernel_form
from tests.verify.device.test_execution import STORE
from verify.device import document
from verify.device.attach import CPU_ROLES, Device, attach
from verify.device.bench import measure
from verify.device.document import Benched, bench_file, place_of, record
from verify.device.facts import facts_of
from verify.device.hardware import FLUSH_BYTES, CpuDevice
from verify.device.sampling import Sampler, Stale, head_cuts, heads_are_alone
from verify.device.timed import DefinitionForm, KernelForm, TimedHandler, draw
from verify.judge.contract_checks import dense_request
from verify.judge.judge import Judge
from verify.judge.random import Stream
from verify.judge.session import Session
from verify.judge.throughput import reference_case
from verify.roles.baseline import makers
from verify.sandbox.client import Limits, Server
from verify.source.contract import Spec
from verify.source.static import check_static

ROOT = Path(__file__).parents[3]
SHAPE = {"B": 2, "T": 7, "H": 2, "D": 4}


@pytest.fixture
def session(server: Server, honest: str) -> Iterator[Session]:
    with opened(server, honest) as one:
        yield one


def opened(server: Server, source: str) -> Session:
    mechanism = check_static(source.encode(), path="m.py").mechanism
    assert mechanism is not None
    return Session(server, mechanism, Limits())


@pytest.mark.slow
def test_kernels_are_timed_beside_their_definition(session: Session, stand_in: Device) -> None:
    found = measure(session, stand_in, shapes=(SHAPE,), seed=1, repetitions=2)
    (row,) = found.rows
    assert found.findings == []
    assert row["shape"] == {"B": 2, "T": 7, "H": 2, "K": 4, "V": 4}
    assert row["forms"]["kernels"]["microseconds"] > 0
    assert row["forms"]["eager"]["microseconds"] > 0
    assert "not softmax attention" in row["forms"]["sdpa"]["n/a"]
    assert set(row["checked"]["kernels"]["ratios"]) == {"output", "S", "d_q", "d_k", "d_v", "d_S"}
    assert set(row["checked"]["kernels"]["part"]) == {"B", "H"}
    assert "unknown" in row["floor"]["reason"]


def test_wrong_kernels_are_found_by_what_they_left(server: Server, stand_in: Device, honest: str) -> None:
    wrong = honest.replace(STORE, "o.to(o_ptr.dtype.element_ty) * (T < 6), mask=columns < V)")
    with opened(server, wrong) as session:
        found = measure(session, stand_in, shapes=(SHAPE,), seed=1, forms=("kernels",), repetitions=1)
    assert {finding.rule for finding in found.findings} == {"THR-OUTPUT"}


def test_a_form_that_was_not_timed_is_refused_and_not_passed(session: Session, stand_in: Device) -> None:
    found = measure(session, stand_in, shapes=(SHAPE,), seed=1, forms=("sdpa",), repetitions=1)
    assert found.findings == []
    assert [reason for reason in found.refused if reason.startswith("kernels at")]


class Near:
    """A worker in this process."""

    def __init__(self, handler: TimedHandler) -> None:
        self.handler = handler

    def call(self, method: str, header: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        return self.handler.handle(method, header, [])


class Cached(DefinitionForm):
    """Computes once, and has its answer ready from then on."""

    def run(self, number: int) -> None:
        if not self._results:
            super().run(number)

    def poison(self) -> None:
        """It keeps what it has."""


class Skipping(DefinitionForm):
    """Leaves what stands for unwritten memory."""

    def run(self, number: int) -> None:
        super().run(number)
        self._results["d_k"] = torch.full_like(self._results["d_k"], torch.nan)


class Overwriting(DefinitionForm):
    """Writes into an argument."""

    def run(self, number: int) -> None:
        super().run(number)
        self._sets[number]["v"].add_(1.0)


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (DefinitionForm, None),
        (Cached, "THR-OUTPUT"),
        (Skipping, "THR-OUTPUT"),
        (Overwriting, "MEM-INPUT-CHANGED"),
    ],
)
def test_results_that_a_timed_run_did_not_compute_are_found(
    session: Session, honest: str, kind: type[DefinitionForm], rule: str | None
) -> None:
    mechanism = session.mechanism
    case = reference_case(mechanism.spec, SHAPE)
    request = dense_request(mechanism, case)
    eager = makers(honest.encode())["eager"]

    def make(header: Mapping[str, Any], sets: Sequence[Mapping[str, torch.Tensor]]) -> DefinitionForm:
        form = eager(header, sets)
        form.__class__ = kind
        assert isinstance(form, DefinitionForm)
        return form

    worker: Any = Near(TimedHandler("cpu", {"eager": make}))
    worker.call("prepare", prepared(session, request))
    worker.call("warm", {"form": "eager"})
    said, _ = worker.call("measure", {"form": "eager", "few": 1, "many": 3, "first": 1})
    assert said["last"] == 1  # 1; then 2, 0, 1
    sampler = Sampler(session, case, request, seed=5)
    if rule is None:
        assert max(sampler.look(worker, "eager", said["last"])["ratios"].values()) < 1.0
        return
    with pytest.raises(Stale) as stale:
        sampler.look(worker, "eager", said["last"])
    assert stale.value.rule == rule


def prepared(session: Session, request: Any) -> dict[str, Any]:
    spec = session.mechanism.spec
    domains = {entry.name: entry.domain for entry in spec.differentiated}
    return {
        "forms": ["eager"],
        "sets": 3,
        "seed": 11,
        "tensors": [
            {
                "name": name,
                "domain": domains.get(name, "normal"),
                "shape": list(layout.shape),
                "dtype": layout.dtype,
            }
            for name, layout in request.arguments.items()
        ],
        "state": [entry.name for entry in spec.state],
        "entries": [[entry.name, entry.differentiable] for entry in spec.differentiated],
        "inputs": len(spec.arguments),
        "constants": {},
        "function": "parallel",
    }


class Lazy:
    """A kernel that leaves a mark in scratch memory and does nothing where it finds it."""

    def __getitem__(self, grid: tuple[int, int, int]) -> Any:
        def launch(*, x: torch.Tensor, mark: torch.Tensor, y: torch.Tensor, **_: int) -> None:
            if mark[0] != 7.0:
                mark.fill_(7.0)
                y.copy_(2.0 * x)

        return launch


def test_a_kernel_that_remembers_an_earlier_run_leaves_another_sets_results() -> None:
    refs = [{"buffer": i, "dtype": "float32", "shape": [4], "strides": [1], "offset": 0} for i in range(3)]
    named = zip(("x", "mark", "y"), refs, strict=True)
    plan_json = {
        "plan": 1,
        "buffers": [{"nbytes": 16, "argument": name, "label": "b"} for name in ("x", None, None)],
        "forward": [
            {
                "op": "launch",
                "kernel": "k",
                "grid": [1, 1, 1],
                "num_warps": 1,
                "num_stages": 1,
                "line": 1,
                "arguments": [[name, {"tensor": ref}] for name, ref in named],
            }
        ],
        "output": refs[2],
        "state": [],
        "residuals": [],
        "backward": [],
        "gradients": None,
    }
    sets = [{"x": torch.full((4,), float(number))} for number in (1, 2)]
    header = {"plan": plan_json, "kernels": ["k"], "state": [], "gradients": []}
    form = kernel_form({"k": Lazy()})(header, sets)
    assert isinstance(form, KernelForm)
    form.poison()
    form.run(0)
    assert form.results()["output"].tolist() == [2.0] * 4
    form.run(1)
    assert form.results()["output"].tolist() != [4.0] * 4
    form.poison()
    form.run(1)
    assert form.results()["output"].tolist() == [4.0] * 4


@pytest.mark.parametrize(
    ("domain", "low", "high"),
    [
        ("log_decay", -1.0, 0.0),
        ("unit_interval", 0.0, 1.0),
        ("positive", 0.0625, 4.0625),
        ("angle", -3.1416, 3.1416),
        ("index", 0, 15),
        ("normal", -8.0, 8.0),
    ],
)
def test_inputs_lie_in_their_domain_and_depend_on_the_seed(domain: str, low: float, high: float) -> None:
    dtype = "int32" if domain == "index" else "float32"
    entry = {"name": "x", "domain": domain, "shape": [3, 50], "dtype": dtype}
    values = draw(entry, 1, "cpu")
    assert low <= float(values.min()) < float(values.max()) <= high
    assert torch.equal(values, draw(entry, 1, "cpu"))
    assert not torch.equal(values, draw(entry, 2, "cpu"))


def test_rows_of_unit_norm_have_it() -> None:
    entry = {"name": "x", "domain": "unit_norm", "shape": [3, 5, 2, 7], "dtype": "float32"}
    torch.testing.assert_close(draw(entry, 1, "cpu").norm(dim=-1), torch.ones(3, 5, 2))


def test_heads_that_mix_are_not_taken_alone(server: Server, honest: str) -> None:
    mixing = honest.replace("    (S,) = state\n", "    (S,) = state\n    q = q + q.sum(2, keepdim=True)\n")
    for source, alone in ((honest, True), (mixing, False)):
        with opened(server, source) as session:
            assert heads_are_alone(session, "reference", 3) is alone


def spec_with(honest: str, dims: str) -> Spec:
    grouped = honest.replace('"k": "B T H K : unit_norm"', '"k": "B T G K"')
    grouped = grouped.replace('"dims": {}', f'"dims": {dims}')
    mechanism = check_static(grouped.encode(), path="m.py").mechanism
    assert mechanism is not None
    return mechanism.spec


def test_a_group_is_taken_with_all_of_its_heads(honest: str) -> None:
    spec = spec_with(honest, '{"H": "G*R", "G": "1..64", "R": "1..64"}')
    sizes = {"H": 12, "G": 4, "R": 3}
    cuts = head_cuts(spec, sizes, Stream(5))
    group, one = cuts["G"]
    assert one == 1
    assert cuts["H"] == (3 * group, 3)
    sizes = spec.resolve(reference_case(spec, {"B": 4, "T": 4096, "H": 16, "D": 64}).size_map)
    assert (sizes["H"], sizes["G"], sizes["R"]) == (16, 16, 1)


def test_heads_that_other_sizes_follow_from_are_not_taken_alone(honest: str) -> None:
    spec = spec_with(honest, '{"G": "2*H"}')
    assert head_cuts(spec, {"H": 4, "G": 8}, Stream(5)) == {}


@pytest.mark.slow
def test_a_cpu_exercises_the_clock_on_definitions(session: Session) -> None:
    device = attach("cpu")
    try:
        found = measure(session, device, shapes=(SHAPE,), seed=1, forms=("eager", "compiled"), repetitions=2)
    finally:
        device.server.close()
    (row,) = found.rows
    assert found.findings == []
    assert row["forms"]["eager"]["repetitions"] == 2
    assert "n/a" in row["forms"]["compiled"]
    assert set(CPU_ROLES) == {"baseline"}


@pytest.mark.slow
def test_a_definition_compiles_as_one_graph(
    session: Session, honest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tracing is what may fail; a C++ compiler is not asked for.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    request = dense_request(session.mechanism, reference_case(session.mechanism.spec, SHAPE))
    worker = Near(TimedHandler("cpu", makers(honest.encode())))
    results = {}
    for form in ("eager", "compiled"):
        worker.call("prepare", {**prepared(session, request), "forms": [form]})
        worker.call("warm", {"form": form})
        results[form] = worker.handler._forms[form].results()
    for name, expected in results["eager"].items():
        torch.testing.assert_close(results["compiled"][name], expected)


def test_nothing_is_timed_before_it_is_clean(server: Server, stand_in: Device, honest: str) -> None:
    wrong = honest.replace(STORE, "0.0 * o.to(o_ptr.dtype.element_ty), mask=columns < V)").encode()
    found = bench_file(Path("m.py"), wrong, judge=Judge(server), server=server, device=stand_in)
    assert "NUM-OUTPUT" in {finding.rule for finding in found.findings}
    assert found.document["rows"] == []
    assert found.refused


def benched(path: Path, skeleton: str | None, **more: Any) -> Benched:
    made = Benched(path=path, document={"skeleton": skeleton, "rows": []}, findings=(), refused=())
    return replace(made, **more)


def test_documents_are_kept_beside_candidates_and_under_docs_for_skeletons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "ROOT", tmp_path)
    candidate = tmp_path / "candidates" / "f" / "name" / "mechanism.py"
    skeleton = tmp_path / "templates" / "linear_state" / "v1" / "ungated.py"
    for path in (candidate, skeleton):
        path.parent.mkdir(parents=True)
        path.touch()
    loose = tmp_path / "mine.py"
    written = record(
        [
            benched(candidate, "linear_state/v1/ungated"),
            benched(skeleton, "linear_state/v1/ungated"),
            benched(loose, None),
            benched(candidate, None, refused=("the clocks disagree",)),
        ],
        "some-gpu",
    )
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        "candidates/f/name/measured/some-gpu.json",
        "docs/measured/some-gpu/linear_state-v1-ungated.json",
    ]
    assert json.loads(written[0].read_text())["skeleton"] == "linear_state/v1/ungated"
    assert place_of(loose, "linear_state/v1/ungated", "some-gpu") is None


def test_flushing_overwrites_a_buffer_larger_than_the_caches_of_known_devices() -> None:
    device = CpuDevice()
    device._scratch.fill_(1)
    device.flush()
    assert int(device._scratch.count_nonzero()) == 0
    known = facts_of({"name": "NVIDIA H200", "l2_bytes": None})
    assert known.l2_bytes is not None
    assert known.l2_bytes < FLUSH_BYTES


def test_loading_the_roles_of_a_device_asks_for_none() -> None:
    # A process that has asked cannot fork workers that drive one.
    program = (
        "import torch\n"
        "def asked(*_):\n    raise AssertionError('asked for a device')\n"
        "torch.cuda.is_available = torch.cuda.device_count = torch.cuda._lazy_init = asked\n"
        "import verify.roles.device, verify.roles.timing, verify.roles.baseline\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
