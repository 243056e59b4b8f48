"""A role in the place of `compile`: its answers, and its deaths, are written in the source that it opens."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from verify.triton_cpu.compiler.report import CompileReport


class Handler:
    def __init__(self, script: Mapping[str, Any]) -> None:
        self._script = script

    def handle(
        self, method: str, header: Mapping[str, Any], blobs: Sequence[memoryview]
    ) -> tuple[dict[str, Any], list[bytes]]:
        if method == "census":
            return {"censuses": [json.loads(bytes(blob)) for blob in blobs]}, []
        launch = header["launch"]
        act = dict(self._script[launch["kernel"]])
        if act.pop("dies", False):
            os.abort()
        time.sleep(act.pop("seconds", 0.0))
        if "raw" in act:
            return {"report": act["raw"]}, []
        counted = act.pop("census", None)
        stages, warps = launch["num_stages"], launch["num_warps"]
        made = CompileReport(
            kernel=act.pop("kernel", launch["kernel"]),
            target=header["target"],
            num_warps=warps,
            num_stages=stages,
            shared_bytes=act.pop("shared_a_stage", 0) * stages,
            spill_bytes=act.pop("spill", 0) // warps,
            **act,
        )
        code = json.dumps(counted).encode()
        return {"report": made.to_json()}, [code] if header["census"] and counted is not None else []


def open(source: bytes) -> Handler:
    return Handler(json.loads(source))
