"""Count the instructions of a compiled kernel, by what they do.

Counts are of the text, not of what runs: a loop's body counts once. Group -> instruction -> count; names are
those of the assembler, cut to what matters: the shape and types of a tensor-core instruction, the function of
a special one, the width in bits of a memory access. "all" holds the total. Imports neither torch nor Triton.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Mapping, Sequence

Census = Mapping[str, Mapping[str, int]]

GROUPS = (
    *("tensor core", "float", "special", "convert", "global", "async copy", "shared", "local"),
    *("tensor memory", "exchange", "atomic", "barrier", "all"),
)

_SASS = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(?:@!?\w+\s+)?([A-Z][A-Z0-9_.x]*)", re.MULTILINE)
_AMD = re.compile(r"^\t([a-z]\w*)(?=\s|$)(?:[^\n;]*\s(lds)\b)?", re.MULTILINE)
_WIDTHS = {"U8": 8, "S8": 8, "8": 8, "U16": 16, "S16": 16, "16": 16, "64": 64, "128": 128, "256": 256}
_SASS_GROUPS = {
    "float": (
        *("FFMA", "FFMA2", "FADD", "FADD2", "FMUL", "FMUL2", "FMNMX", "FMNMX3"),
        *("HFMA2", "HADD2", "HMUL2", "HMNMX2", "DFMA", "DADD", "DMUL"),
    ),
    "convert": ("F2F", "F2FP", "F2I", "I2F", "I2FP", "F2IP", "FRND", "HADD2_32"),
    "exchange": ("SHFL", "REDUX", "VOTE", "MATCH"),
    "atomic": ("ATOM", "ATOMG", "ATOMS", "RED", "REDG", "REDAS"),
    "barrier": ("BAR", "WARPSYNC", "SYNCS", "MEMBAR", "FENCE", "DEPBAR", "LDGDEPBAR", "WARPGROUP", "UTCBAR"),
    "tensor memory": ("LDTM", "STTM", "UTCCP", "UTCATOMSWS"),
}
_SASS_GROUP = {root: group for group, roots in _SASS_GROUPS.items() for root in roots}
_SASS_MEMORY = {
    **dict.fromkeys(("LDG", "STG", "LD", "ST"), "global"),
    **dict.fromkeys(("LDS", "STS", "LDSM", "STSM"), "shared"),
    **dict.fromkeys(("LDL", "STL"), "local"),
    "LDGSTS": "async copy",
}
_FLOAT_AMD = re.compile(r"v_(pk_)?(fma|fmac|mul|add|sub|subrev|max|min|max3|min3|dot2c?)(_legacy)?_(f|bf)\d+")
_SPECIAL_AMD = re.compile(r"v_(exp|log|rcp|rsq|sqrt|sin|cos|tanh)(_legacy|_iflag)?_f\d+")
_GLOBAL_AMD = re.compile(r"(global|buffer|flat)_(load|store)_")
_EXCHANGE_AMD = ("ds_bpermute", "ds_permute", "ds_swizzle", "v_readlane", "v_writelane", "v_permlane")


def sass_census(text: str, lengths: Sequence[int]) -> list[dict[str, dict[str, int]]]:
    """From the disassembly that `nvdisasm` prints of kernels behind one another, each of so many bytes."""
    ends = list(itertools.accumulate(lengths))
    found: list[dict[str, dict[str, int]]] = [{} for _ in ends]
    for address, name in _SASS.findall(text):
        at = bisect.bisect_right(ends, int(address, 16))
        if at == len(ends):
            break
        _count(found[at], "all", "total")
        group, shown = _sass(name)
        if group is not None:
            _count(found[at], group, shown)
    return [_ordered(counts) for counts in found]


def _sass(name: str) -> tuple[str | None, str]:
    root, *modifiers = name.split(".")
    if root.endswith("MMA") or ("MMA" in root and root.startswith("UTC")):
        return "tensor core", name
    if root == "MUFU":
        return "special", f"MUFU.{modifiers[0]}" if modifiers else "MUFU"
    if root in _SASS_MEMORY:
        if root in ("LDSM", "STSM"):
            return "shared", root
        width = next((_WIDTHS[one] for one in modifiers if one in _WIDTHS), 32)
        return _SASS_MEMORY[root], f"{root}.{width}"
    if root.startswith(("UTMA", "UBLK")):
        return "async copy", root
    if root == "BAR":
        return "barrier", ".".join(["BAR", *modifiers[:1]])
    return _SASS_GROUP.get(root), root


def amd_census(assembly: str) -> dict[str, dict[str, int]]:
    """From the assembly of a kernel for gfx942."""
    found: dict[str, dict[str, int]] = {}
    for name, to_shared in _AMD.findall(assembly):
        group = _amd(name)
        if group is None:
            continue
        _count(found, "all", "total")
        if group == "global" and to_shared:
            _count(found, "async copy", f"{name} {to_shared}")
        elif group:
            _count(found, group, re.sub(r"_(e32|e64|sdwa)$", "", name))
    return _ordered(found)


def _amd(name: str) -> str | None:
    """The group, "" for an instruction that is in none, None for what is no instruction."""
    if not name.startswith(("v_", "s_", "ds_", "global_", "buffer_", "flat_", "scratch_")):
        return None
    if name.startswith(("v_mfma", "v_smfmac")):
        return "tensor core"
    if "atomic" in name or name.startswith(("ds_add", "ds_cmpst")):
        return "atomic"
    if name.startswith("scratch_"):
        return "local"
    if _GLOBAL_AMD.match(name):
        return "async copy" if "_lds_" in name else "global"
    if name.startswith(_EXCHANGE_AMD) or name.endswith("_dpp"):
        return "exchange"
    if name.startswith("ds_"):
        return "shared"
    if name.startswith(("s_barrier", "s_waitcnt")):
        return "barrier"
    if _SPECIAL_AMD.match(name):
        return "special"
    if name.startswith("v_cvt_"):
        return "convert"
    return "float" if _FLOAT_AMD.match(name) else ""


def _count(found: dict[str, dict[str, int]], group: str, name: str) -> None:
    names = found.setdefault(group, {})
    names[name] = names.get(name, 0) + 1


def _ordered(found: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    return {group: dict(sorted(found[group].items())) for group in GROUPS if group in found}
