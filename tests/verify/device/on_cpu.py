"""What stands for a device in tests: kernels on torch tensors, in our interpreter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from verify.triton_cpu.interpreter.launch import Counters, KernelError, PointerArg, WorkLimits, run_launch
from verify.triton_cpu.memory.arena import Arena


class OnCpu:
    """Stands for a compiled kernel: takes torch tensors by name, works on their memory in our interpreter."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel

    def __getitem__(self, grid: tuple[int, int, int]) -> Callable[..., None]:
        def launch(*, num_warps: int, num_stages: int, **values: Any) -> None:
            assert num_warps in (1, 2, 4, 8)
            assert num_stages in (1, 2, 3)
            storages = {
                v.untyped_storage().data_ptr(): v for v in values.values() if isinstance(v, torch.Tensor)
            }
            data = {
                key: torch.empty(0, dtype=torch.uint8).set_(v.untyped_storage())
                for key, v in storages.items()
            }
            arena = Arena()
            buffers = {key: arena.add(str(key), len(raw), written=True) for key, raw in data.items()}
            arena.freeze(0)
            for key, raw in data.items():
                buffers[key].bytes[:] = raw.numpy()
            arguments = {
                name: PointerArg(
                    buffer=buffers[value.untyped_storage().data_ptr()],
                    byte_offset=value.storage_offset() * value.element_size(),
                    dtype=str(value.dtype).removeprefix("torch."),
                )
                if isinstance(value, torch.Tensor)
                else value
                for name, value in values.items()
            }
            try:
                run_launch(
                    self.kernel, arguments, grid=grid, arena=arena, counters=Counters(), limits=WorkLimits()
                )
            except KernelError as error:  # as Triton says it, when it compiles
                raise RuntimeError(str(error)) from error
            assert arena.events == ()
            for key, raw in data.items():
                raw.copy_(torch.from_numpy(buffers[key].bytes))

        return launch
