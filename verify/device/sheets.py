"""What the compile targets can do at most, pipe by pipe, from their makers' documents.

One device stands for each target. Rates are theoretical, at the highest clock, so that nothing real is
faster; dense, without structured sparsity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_NVIDIA_TYPES = {"fp16": 1.0, "bf16": 1.0, "tf32": 0.5, "int8": 2.0, "uint8": 2.0}
"""Rates of NVIDIA's tensor cores, relative to float16."""

_FLOAT8 = ("fp8e4nv", "fp8e5", "fp8e4b8", "fp8e5b16", "fp8e4b15")


@dataclass(frozen=True, kw_only=True)
class DeviceSheet:
    """`multiprocessors` of `hertz` clocks a second. `tensor`, `vector` and `special` are operations a clock
    and multiprocessor: matrix FLOPs by operand type, float32 FLOPs (2 for a fused multiply-add), and special
    functions. `dram_bytes` and `l2_bytes` are bytes a second.

    An operand type that `tensor` does not name is multiplied by the vector units.
    """

    target: str
    name: str
    source: str
    multiprocessors: int
    hertz: float
    tensor: Mapping[str, float]
    vector: float
    special: float
    dram_bytes: float
    l2_bytes: float

    def dot_rate(self, operand: str) -> tuple[str, float]:
        """The pipe ("tensor" or "fp32") that multiplies this type, and its FLOPs a clock and multiprocessor.

        Products that are split in three or six (`tf32x3`, `bf16x6`) take as many passes of the plain type.
        """
        plain, _, passes = operand.partition("x")
        if passes.isdigit():
            pipe, rate = self.dot_rate(plain)
            return pipe, rate / int(passes)
        if operand in self.tensor:
            return "tensor", self.tensor[operand]
        return "fp32", self.vector

    def tensor_flops(self, operand: str) -> float:
        """FLOPs a second of the whole device for dots of this type."""
        return self.multiprocessors * self.hertz * self.dot_rate(operand)[1]

    @property
    def vector_flops(self) -> float:
        """float32 FLOPs a second of the whole device, outside of dots."""
        return self.multiprocessors * self.hertz * self.vector

    @property
    def special_rate(self) -> float:
        """Special functions a second of the whole device."""
        return self.multiprocessors * self.hertz * self.special


def _nvidia(half: float, *, float8: float, float64: float) -> dict[str, float]:
    rates = {name: half * share for name, share in _NVIDIA_TYPES.items()}
    return rates | dict.fromkeys(_FLOAT8, half * float8) | {"fp64": float64}


SHEETS: Mapping[str, DeviceSheet] = {
    sheet.target: sheet
    for sheet in (
        DeviceSheet(
            target="sm_80",
            name="A100 SXM 80 GB",
            source="NVIDIA A100 white paper; CUDA programming guide, arithmetic throughput",
            multiprocessors=108,
            hertz=1.41e9,
            tensor=_nvidia(2048, float8=1.0, float64=128),  # float8 is widened first
            vector=128,
            special=16,
            dram_bytes=2.04e12,
            l2_bytes=5120 * 1.41e9,
        ),
        DeviceSheet(
            target="sm_90",
            name="H100 SXM",
            source="NVIDIA H100 white paper; CUDA programming guide; L2: 64 B a clock and multiprocessor",
            multiprocessors=132,
            hertz=1.98e9,
            tensor=_nvidia(4096, float8=2.0, float64=256),
            vector=256,
            special=16,
            dram_bytes=3.36e12,
            l2_bytes=132 * 64 * 1.98e9,
        ),
        DeviceSheet(
            target="sm_100",
            name="B200",
            source="NVIDIA Blackwell data sheet; CUDA programming guide; L2: 64 B a clock and multiprocessor",
            multiprocessors=148,
            hertz=1.965e9,
            tensor=_nvidia(8192, float8=2.0, float64=128),
            vector=256,
            special=16,
            dram_bytes=8.0e12,
            l2_bytes=148 * 64 * 1.965e9,
        ),
        DeviceSheet(
            target="gfx942",
            name="MI300X",
            source="AMD CDNA 3 white paper; special functions at a quarter of 64 lanes",
            multiprocessors=304,
            hertz=2.1e9,
            tensor={
                **dict.fromkeys(("fp16", "bf16"), 2048.0),
                **dict.fromkeys((*_FLOAT8, "int8", "uint8"), 4096.0),
                "tf32": 1024.0,
                "fp32": 256.0,
                "fp64": 256.0,
            },
            vector=256,
            special=16,
            dram_bytes=5.3e12,
            l2_bytes=8 * 2048 * 2.1e9,
        ),
    )
}
