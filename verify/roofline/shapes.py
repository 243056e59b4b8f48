"""The case that a person asks for by sizes: "B=4,H=16,T=8192,K=64,V=64"."""

from __future__ import annotations

from verify.judge.cases import SHAPES, Case, usual_sizes
from verify.source.contract import Spec


def shape_case(spec: Spec, text: str, dtype: str) -> Case:
    """The case at the sizes of `text`; what it leaves out is as in the first reference shape.

    "D" stands for every head size (K, V, D) that is not given. Where H is a product of names, H alone gives
    it to the first. Raises ValueError for a size that the mechanism does not have, or cannot have.
    """
    given = _sizes(text)
    names, heads = set(spec.all_dims()), spec.head_dims()
    unknown = [name for name in given if name not in names and name != "D"]
    if unknown:
        raise ValueError(f"--shape: expected sizes of {sorted(names)}, got {', '.join(unknown)}")
    if dtype not in spec.dtypes:
        raise ValueError(f"--dtype: expected one of {list(spec.dtypes)}, got {dtype!r}")
    base = SHAPES[0]
    head = given.get("D", base["D"])
    chosen = {**base, "K": head, "V": head, "D": head, **given}
    if heads and not set(heads) & set(given):
        chosen |= dict.fromkeys(heads, 1) | {heads[0]: chosen["H"]}
    sizes = usual_sizes(spec, chosen)
    wrong = [f"{name}={given[name]}" for name, size in sizes if given.get(name, size) != size]
    if wrong:
        raise ValueError(f"--shape: the mechanism does not allow {', '.join(wrong)}; see its SPEC's dims")
    resolved = spec.resolve(dict(sizes))
    wrong = [f"{name}={size}" for name, size in given.items() if resolved.get(name, size) != size]
    if wrong:
        raise ValueError(f"--shape: expected sizes that agree with {resolved}, got {', '.join(wrong)}")
    return Case(sizes=sizes, dtype=dtype)


def _sizes(text: str) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for part in (part for part in text.replace(" ", ",").split(",") if part):
        name, equal, number = part.partition("=")
        if not equal or not number.isdecimal() or int(number) < 1 or name in sizes:
            raise ValueError(f"--shape: expected sizes such as B=4,T=8192, each once, got {part!r}")
        sizes[name] = int(number)
    return sizes
