"""The test plan: which shapes, dtypes, layouts, scales, gates, cotangents and tunings a mechanism is run at.

Our own enumerator over a seed, integers only. Each case is small data; cases come cheap to dear, in groups,
and a group that fails ends the plan, so that the same mechanism always gives the same verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from verify.judge.random import Stream
from verify.seeds import derive
from verify.source.contract import HEADS, TIME, DimRule, Spec

LayoutKind = Literal["dense", "transposed", "gapped"]
CotangentKind = Literal["random", "one_hot", "expanded", "transposed", "zero"]
GateKind = Literal["typical", "strong", "none"]
StateKind = Literal["zero", "random"]

PRIMES = (13, 37, 61)
AWKWARD = (1, 3, 5, 20, 33, 36, 65, 100)
LONG = 521
FAR, FAR_SPREAD = 4100, 200
"""The longest run has FAR tokens or up to FAR_SPREAD - 1 more: beyond 4096, the first timed length."""

SHAPES = ({"B": 4, "T": 4096, "H": 16, "D": 64}, {"B": 2, "T": 8192, "H": 16, "D": 128})
"""The reference shapes (D stands for K, V and D)."""

OTHER_SIZE = 16
LARGEST_OTHER = 64


@dataclass(frozen=True, kw_only=True)
class Case:
    """One compared run: forward, backward, and the same from the oracle.

    `sizes` holds every free dimension; `needs` names the tensors whose gradient is asked for (None = all);
    `tuning` is an index into TUNING; `scale` multiplies the inputs of domain `normal`.
    """

    sizes: tuple[tuple[str, int], ...]
    dtype: str
    tuning: int = 0
    layout: LayoutKind = "dense"
    scale: float = 1.0
    gate: GateKind = "typical"
    state: StateKind = "random"
    cotangent: CotangentKind = "random"
    needs: tuple[str, ...] | None = None
    draw: int = 0

    @property
    def size_map(self) -> dict[str, int]:
        return dict(self.sizes)

    @property
    def far(self) -> bool:
        """Is it about what happens only after thousands of tokens?"""
        return self.size_map[TIME] >= FAR

    @property
    def label(self) -> str:
        """A short unique description, stable enough to be quoted in a finding and to seed the case's
        inputs.
        """
        parts = [" ".join(f"{name}={size}" for name, size in self.sizes), self.dtype]
        parts += [f"tuning {self.tuning}"] if self.tuning else []
        parts += [f"{self.layout} inputs"] if self.layout != "dense" else []
        parts += [f"scale {self.scale:g}"] if self.scale != 1.0 else []
        parts += [f"{self.gate} gates"] if self.gate != "typical" else []
        parts += ["zero state"] if self.state == "zero" else []
        parts += [f"{self.cotangent} cotangent"] if self.cotangent != "random" else []
        parts += [f"needs {'+'.join(self.needs) or 'nothing'}"] if self.needs is not None else []
        parts += [f"draw {self.draw}"] if self.draw else []
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Cases that are judged together; `name` says what the group is about."""

    name: str
    cases: tuple[Case, ...]


def enumerate_groups(
    spec: Spec, tuning: tuple[dict[str, int], ...], *, seed: int, depth: Literal["quick", "full"]
) -> tuple[Group, ...]:
    """The test plan for one mechanism. `full` begins with the groups of `quick`."""
    planner = Planner(spec=spec, tuning=tuning, stream=Stream(derive(seed, "cases")))
    groups = [planner.smoke(), planner.semantics(), planner.low_precision()]
    if depth == "full":
        groups += [
            planner.lengths(),
            planner.needs(),
            planner.domains(),
            planner.tunings(),
            planner.long(),
            planner.free_draws(),
            planner.far(),
            planner.many(),
        ]
    return tuple(group for group in groups if group.cases)


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Draws the sizes of one mechanism's cases."""

    spec: Spec
    tuning: tuple[dict[str, int], ...]
    stream: Stream

    @property
    def block(self) -> int:
        """The default tuning's largest tile size, around which lengths are chosen; 32 where it names none."""
        return self.block_of(0)

    def block_of(self, index: int) -> int:
        tiles = [
            size
            for name, size in self.tuning[index].items()
            if not name.startswith("num_") and 8 <= size <= 256
        ]
        return max(tiles, default=32)

    def sizes(self, **chosen: int) -> tuple[tuple[str, int], ...]:
        """Every free dimension: the chosen size, or one drawn from its rule."""
        return tuple((name, self._size(name, chosen)) for name in self.spec.free_dims())

    def _size(self, name: str, chosen: Mapping[str, int]) -> int:
        rule = self.spec.dims[name]
        if name in chosen:
            return _clamp(chosen[name], rule)
        if name in ("B", "H"):
            return _clamp(1 + self.stream.below(2), rule)
        if name in ("K", "V", "D"):
            # Half from sizes that break kernels, half from the whole range, which no author can prepare for.
            size = self.stream.choice(AWKWARD) if self.stream.below(2) else 1 + self.stream.below(128)
            return _clamp(size, rule)
        if name in self.spec.head_dims():
            # What H is made of is as small as H would be; two groups of two heads tell groups apart.
            most = {None: 3, 1: 1}.get(chosen.get("H"), 2)
            return _clamp(1 + self.stream.below(most), rule)
        if self.stream.below(4) == 0:
            # A dimension of the mechanism's own: mostly small, now and then anything that its rule allows.
            high = LARGEST_OTHER if rule.high is None else min(rule.high, LARGEST_OTHER)
            return _clamp(rule.low + self.stream.below(max(1, high - rule.low + 1)), rule)
        return _clamp(1 + self.stream.below(4), rule)

    def smoke(self) -> Group:
        block = self.block
        return Group(
            name="smoke",
            cases=(
                Case(sizes=self.sizes(B=1, T=1, H=1, K=3, V=2, D=3), dtype="float32"),
                Case(sizes=self.sizes(B=2, T=block + 1, H=2, K=20, V=36, D=20), dtype="float32"),
            ),
        )

    def semantics(self) -> Group:
        block = self.block
        return Group(
            name="semantics",
            cases=(
                Case(
                    sizes=self.sizes(B=1, T=2 * block + 5, H=2, K=20, V=40, D=40),
                    dtype="float32",
                    layout="gapped",
                    cotangent="expanded",
                ),
                Case(
                    sizes=self.sizes(B=1, T=2 * block + 3, H=1, K=33, V=5, D=33),
                    dtype="float32",
                    gate="strong",
                ),
                Case(
                    sizes=self.sizes(B=1, T=3 * block, H=1, K=64, V=65, D=65),
                    dtype="float32",
                    scale=4.0,
                    state="zero",
                    layout="transposed",
                    cotangent="transposed",
                ),
                Case(
                    sizes=self.sizes(B=1, T=block - 1, H=2, K=8, V=16, D=16), dtype="float32", scale=2.0**-6
                ),
            ),
        )

    def low_precision(self) -> Group:
        block = self.block
        cases = [
            Case(sizes=self.sizes(B=1, T=2 * block + 7, H=2, K=36, V=64, D=64), dtype=dtype)
            for dtype in self.spec.dtypes
            if dtype != "float32"
        ]
        cases.append(
            Case(sizes=self.sizes(B=1, T=61, H=1, K=128, V=100, D=128), dtype="bfloat16", layout="gapped")
        )
        return Group(name="low precision", cases=tuple(cases))

    def lengths(self) -> Group:
        block = self.block
        lengths = (
            1,
            2,
            block - 1,
            block,
            self.stream.choice(PRIMES),
            2 * block + 1 + self.stream.below(block - 1),
        )
        cases = [Case(sizes=self.sizes(T=length), dtype="float32") for length in lengths]
        cases += [Case(sizes=self.sizes(T=length), dtype="bfloat16") for length in (1, block, block + 1)]
        cases += [
            Case(sizes=self.sizes(B=1, T=block + 3, H=1, K=1, V=1, D=1), dtype="float32"),
            Case(sizes=self.sizes(B=3, T=7, H=3, K=128, V=128, D=128), dtype="float32", layout="transposed"),
        ]
        return Group(name="lengths", cases=tuple(cases))

    def needs(self) -> Group:
        names = tuple(tensor.name for tensor in self.spec.differentiated if tensor.differentiable)
        patterns = [(name,) for name in names] + [names[1:], names[:1] + names[2:], ()]
        # ... and combinations that no author can list
        patterns += [tuple(name for name in names if self.stream.below(2)) for _ in range(3)]
        unique = tuple(dict.fromkeys(patterns))
        return Group(
            name="needs",
            cases=tuple(
                Case(
                    sizes=self.sizes(B=1, T=self.block + 2 + index, H=2, K=20, V=33, D=33),
                    dtype="float32",
                    needs=pattern,
                )
                for index, pattern in enumerate(unique)
            ),
        )

    def domains(self) -> Group:
        block = self.block
        kinds: tuple[CotangentKind, ...] = ("one_hot", "zero", "expanded", "transposed")
        cases = [
            Case(sizes=self.sizes(B=2, T=block + 5, H=1), dtype="float32", cotangent=kind) for kind in kinds
        ]
        cases += [
            Case(sizes=self.sizes(B=1, T=2 * block + 1, H=1), dtype="float32", scale=scale)
            for scale in (2.0**-20, 2.0**-10, 2.0**-3, 2.0)
        ]
        cases += [
            Case(sizes=self.sizes(B=1, T=2 * block + 1, H=1), dtype="bfloat16", scale=2.0**-6),
            Case(sizes=self.sizes(B=1, T=2 * block + 1, H=1), dtype="bfloat16", scale=3.0, gate="strong"),
            Case(sizes=self.sizes(B=1, T=3 * block + 1, H=2), dtype="float32", gate="strong", state="zero"),
            Case(sizes=self.sizes(B=1, T=3 * block + 1, H=2), dtype="float32", gate="none"),
        ]
        return Group(name="domains", cases=tuple(cases))

    def tunings(self) -> Group:
        cases = []
        for index in range(1, len(self.tuning)):
            block = self.block_of(index)
            cases += [
                Case(
                    sizes=self.sizes(B=1, T=2 * block + 5, H=2, K=36, V=65, D=65),
                    dtype="float32",
                    tuning=index,
                ),
                Case(
                    sizes=self.sizes(B=1, T=block + 1, H=1, K=64, V=64, D=64), dtype="bfloat16", tuning=index
                ),
                Case(sizes=self.sizes(B=1, T=block - 1, H=1), dtype="float32", tuning=index, layout="gapped"),
            ]
        return Group(name="tunings", cases=tuple(cases))

    def long(self) -> Group:
        """One long run per dtype; the float32 one, where semantics are proven, at a length nobody knows."""
        lengths = {"float32": LONG + self.stream.below(LONG)}
        return Group(
            name="long",
            cases=tuple(
                Case(sizes=self.sizes(B=1, T=lengths.get(dtype, LONG), H=1, K=8, V=4, D=8), dtype=dtype)
                for dtype in self.spec.dtypes
            ),
        )

    def free_draws(self) -> Group:
        layouts: tuple[LayoutKind, ...] = ("dense", "transposed", "gapped")
        states: tuple[StateKind, ...] = ("zero", "random")
        return Group(
            name="free draws",
            cases=tuple(
                Case(
                    sizes=self.sizes(T=1 + self.stream.below(4 * self.block)),
                    dtype=self.stream.choice(self.spec.dtypes),
                    tuning=self.stream.below(len(self.tuning)),
                    layout=self.stream.choice(layouts),
                    state=self.stream.choice(states),
                    draw=index + 1,
                )
                for index in range(8)
            ),
        )

    def far(self) -> Group:
        """Two runs over thousands of tokens, at lengths that nobody knows.

        What kernels do only that far back, or only in a sequence that long, shows nowhere else. The one in
        float32 has every gradient, and no decay, so that the first token counts at the last. The one in
        bfloat16, which is what is timed, is of forward alone: where a sum over thousands of tokens cancels,
        gradients through a quotient by it are beyond what honest kernels can keep. Features are few, since a
        definition may hold a tensor of T x T x K elements, but not so few that chunks whose length depends on
        them (as those of the delta rule do) become many.
        """
        cases = []
        if "bfloat16" in self.spec.dtypes:
            cases.append(Case(sizes=self._far_sizes(), dtype="bfloat16", needs=()))
        cases.append(Case(sizes=self._far_sizes(), dtype="float32", gate="none"))
        return Group(name="far", cases=tuple(cases))

    def many(self) -> Group:
        """More sequences, and more heads, than anybody prepares for: kernels that lose their way in a long
        grid, or only look right on the first few programs, show there. Tokens and features are few.
        """
        few = {"K": 5, "V": 6, "D": 7}
        heads = {name: 4 + self.stream.below(4) for name in self.spec.head_dims()}
        return Group(
            name="many",
            cases=(
                Case(sizes=self._many_sizes(B=9 + self.stream.below(9), H=2, **few), dtype="float32"),
                Case(
                    sizes=self._many_sizes(B=1, H=17 + self.stream.below(32), **heads, **few), dtype="float32"
                ),
            ),
        )

    def _many_sizes(self, **chosen: int) -> tuple[tuple[str, int], ...]:
        return self.sizes(T=5 + self.stream.below(8), **chosen)

    def _far_sizes(self) -> tuple[tuple[str, int], ...]:
        features = {name: 8 + self.stream.below(8) for name in ("K", "V", "D")}
        return self.sizes(B=1, T=FAR + self.stream.below(FAR_SPREAD), H=1, **features)


def usual_sizes(spec: Spec, chosen: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Every free dimension at a size that models use; `chosen` has those of B, T, H and the head sizes.

    Where H is an expression (G*R), its names share it evenly; any other dimension is 16, or near it.
    """
    sizes = dict(chosen)
    names = spec.head_dims()
    even = round(chosen[HEADS] ** (1.0 / max(1, len(names))))
    sizes |= {name: even for name in names if name not in chosen}
    return tuple((name, _clamp(sizes.get(name, OTHER_SIZE), spec.dims[name])) for name in spec.free_dims())


def _clamp(size: int, rule: DimRule) -> int:
    high = rule.high if rule.high is not None else size
    return max(rule.low, min(size, high))
