"""Run one plan once, each buffer an allocation of its own: the program that compute-sanitizer watches."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from verify.device.runner import DevicePlanRunner
from verify.plan.format import Plan
from verify.source.static import blank_out
from verify.triton_cpu.interpreter.launch import load_kernels


def main(folder: str) -> None:
    """`folder` holds job.json (source, plan, kernels, device) and argument0, argument1, ... in plan order."""
    job = json.loads(Path(folder, "job.json").read_text(encoding="utf-8"))
    names = [one["argument"] for one in job["plan"]["buffers"] if one["argument"] is not None]
    data = [Path(folder, f"argument{number}").read_bytes() for number in range(len(names))]
    plan = Plan.from_json(
        job["plan"],
        kernels=job["kernels"],
        arguments={name: len(one) for name, one in zip(names, data, strict=True)},
    )
    arguments = {
        name: torch.frombuffer(bytearray(one), dtype=torch.uint8).to(job["device"])
        if one
        else torch.empty(0, dtype=torch.uint8, device=job["device"])
        for name, one in zip(names, data, strict=True)
    }
    runner = DevicePlanRunner(load_kernels(blank_out(job["source"], keep="kernels"), "<mechanism>"))
    done = runner.forward(plan, arguments)
    runner.backward(plan, arguments, done.kept)
    if job["device"] != "cpu":
        torch.cuda.synchronize()
