"""Read SPEC from the syntax tree; nothing is executed and every mistake is reported with its position."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Mapping
from typing import cast

from verify.findings import Finding
from verify.source.contract import (
    BATCH,
    CONTRACT_VERSION,
    DOMAINS,
    EXTRA_DTYPES,
    REQUIRED_DTYPES,
    TIME,
    Spec,
    TensorDtype,
    TensorSpec,
)
from verify.source.dim_rules import DIM_NAME, DimReader
from verify.source.literals import Entry, nearest
from verify.source.outline import Outline

REQUIRED_KEYS = ("contract", "template", "causal", "inputs", "output", "state")
OPTIONAL_KEYS = ("slots", "params", "dims", "constants", "dtypes_extra")
RESERVED_NAMES = frozenset(
    {
        "state",
        "tuning",
        "needs",
        "residuals",
        "d_output",
        "d_state",
        "output",
        "self",
        "meta",
        "torch",
        "triton",
        "tl",
        "math",
        "num_warps",
        "num_stages",
    }
)
MAX_TENSORS = 16

TEMPLATE = re.compile(r"free|[a-z][a-z0-9_]*/v[1-9][0-9]*/[a-z][a-z0-9_]*")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")


def read_spec(outline: Outline) -> tuple[Spec | None, list[Finding]]:
    """The SPEC, or None, and every mistake in it."""
    node = outline.assignment("SPEC")
    if node is None:
        return None, [
            Finding(
                rule="CON-SPEC",
                line=1,
                message="expected a module-level SPEC = {...}, got none. Write the "
                "contract as a literal dict below the imports.",
            )
        ]
    reader = SpecReader()
    spec = reader.read(node)
    return (None if reader.findings else spec), reader.findings


class SpecReader(DimReader):
    """Reads a whole SPEC; a bad part becomes a harmless default, so that the rest is judged too."""

    def read(self, node: ast.expr) -> Spec:
        entries = {entry.key: entry for entry in self.entries(node, "SPEC")}
        for entry in entries.values():
            if entry.key not in (*REQUIRED_KEYS, *OPTIONAL_KEYS):
                self.fail(
                    "CON-SPEC-KEY",
                    entry.key_node,
                    f"unknown key {entry.key!r} in SPEC. "
                    f"{nearest(entry.key, (*REQUIRED_KEYS, *OPTIONAL_KEYS))}",
                )
        for key in REQUIRED_KEYS:
            if key not in entries:
                self.fail("CON-SPEC-KEY", node, f"expected the key {key!r} in SPEC, got none. Add it.")
        values = {key: entry.value for key, entry in entries.items()}
        dims = self.dims(values.get("dims"))
        inputs = self.tensors(values.get("inputs"), "inputs")
        params = self.tensors(values.get("params"), "params")
        state = self.tensors(values.get("state"), "state")
        output = self.output(values.get("output"))
        constants = self.constants(values.get("constants"))
        if "inputs" in values and not inputs:
            self.fail("CON-SPEC-VALUE", values["inputs"], "inputs: expected at least one tensor, got none.")
        self.names_differ(entries)
        spec = Spec(
            contract=self.version(values.get("contract")),
            template=self.template(values.get("template")),
            causal=self.boolean(values.get("causal"), "causal"),
            slots=self.slots(values.get("slots")),
            inputs=inputs,
            params=params,
            dims=dims,
            constants=constants,
            output=output,
            state=state,
            dtypes=(*REQUIRED_DTYPES, *self.dtypes(values.get("dtypes_extra"))),
        )
        self.known_dims(spec, values, node)
        return spec

    def version(self, node: ast.expr | None) -> int:
        if node is not None and not (
            isinstance(node, ast.Constant) and type(node.value) is int and node.value == CONTRACT_VERSION
        ):
            self.fail(
                "CON-SPEC-VALUE",
                node,
                f"contract: expected {CONTRACT_VERSION}, got {ast.unparse(node)[:60]}.",
            )
        return CONTRACT_VERSION

    def boolean(self, node: ast.expr | None, what: str) -> bool:
        if node is None or (isinstance(node, ast.Constant) and type(node.value) is bool):
            return node is not None and bool(node.value)
        self.fail("CON-SPEC-VALUE", node, f"{what}: expected True or False, got {ast.unparse(node)[:60]}.")
        return False

    def template(self, node: ast.expr | None) -> str:
        name = "free" if node is None else self.text(node, "template")
        if node is not None and name is not None and not TEMPLATE.fullmatch(name):
            self.fail(
                "CON-TEMPLATE",
                node,
                f'template: expected "free" or "<family>/v<N>/<skeleton>", got {name!r}.',
            )
            return "free"
        return name or "free"

    def slots(self, node: ast.expr | None) -> dict[str, tuple[str, ...]]:
        slots: dict[str, tuple[str, ...]] = {}
        for entry in self.entries(node, "slots"):
            if not isinstance(entry.value, ast.List | ast.Tuple) or not entry.value.elts:
                self.fail(
                    "CON-SLOTS",
                    entry.value,
                    f"slot {entry.key!r}: expected a list of function names, got "
                    f"{ast.unparse(entry.value)[:60]}.",
                )
                continue
            names = [self.text(item, f"slot {entry.key!r}") for item in entry.value.elts]
            slots[entry.key] = tuple(name for name in names if name is not None)
        return slots

    def dtypes(self, node: ast.expr | None) -> tuple[str, ...]:
        if node is None:
            return ()
        if not isinstance(node, ast.List | ast.Tuple):
            self.fail(
                "CON-SPEC-VALUE",
                node,
                f'dtypes_extra: expected a list such as ["float16"], got {ast.unparse(node)[:60]}.',
            )
            return ()
        found = [(item, self.text(item, "dtypes_extra")) for item in node.elts]
        for index, (item, name) in enumerate(found):
            if name is not None and name not in EXTRA_DTYPES:
                always = " It is always tested." if name in REQUIRED_DTYPES else ""
                self.fail(
                    "CON-DTYPE-NAME",
                    item,
                    f"dtypes_extra: expected a subset of {list(EXTRA_DTYPES)}, got {name!r}.{always}",
                )
            elif name in [other for _, other in found[:index]]:
                self.fail("CON-SPEC-KEY", item, f"dtypes_extra: {name!r} appears twice. Remove one.")
        return tuple(dict.fromkeys(name for _, name in found if name in EXTRA_DTYPES))

    def constants(self, node: ast.expr | None) -> dict[str, int | float]:
        found: dict[str, int | float] = {}
        for entry in self.entries(node, "constants"):
            value = self.number(entry.value)
            if value is None:
                self.fail(
                    "CON-SPEC-VALUE",
                    entry.value,
                    f"constant {entry.key!r}: expected a finite number, got {ast.unparse(entry.value)[:60]}.",
                )
            elif self.name(entry):
                found[entry.key] = value
        return found

    def name(self, entry: Entry) -> bool:
        """Whether the key may name an argument."""
        if (
            _NAME.fullmatch(entry.key)
            and not keyword.iskeyword(entry.key)
            and entry.key not in RESERVED_NAMES
        ):
            return True
        self.fail(
            "CON-NAME",
            entry.key_node,
            f"expected a short identifier that is not reserved as a name, got {entry.key!r}. "
            f"Reserved: {', '.join(sorted(RESERVED_NAMES))}.",
        )
        return False

    def names_differ(self, entries: Mapping[str, Entry]) -> None:
        """Names and the names of their gradients (d_x for x) are different across all groups."""
        seen: dict[str, str] = {}
        for group in ("inputs", "params", "state", "constants"):
            node = entries[group].value if group in entries else None
            for key in node.keys if isinstance(node, ast.Dict) else ():
                name = key.value if isinstance(key, ast.Constant) else None
                if not isinstance(name, str):
                    continue
                taken = (n for n in (name, f"d_{name}", name.removeprefix("d_")) if n in seen)
                clash = next((n for n in taken if n != name or seen[n] != group), None)
                if clash is not None:
                    self.fail(
                        "CON-NAME",
                        cast("ast.expr", key),
                        f"{name!r} in {group} collides with {clash!r} in {seen[clash]}. Rename one of them.",
                    )
                seen.setdefault(name, group)

    def tensors(self, node: ast.expr | None, group: str) -> tuple[TensorSpec, ...]:
        found = []
        for entry in self.entries(node, group):
            tensor = self.tensor(entry, group)
            if tensor is not None and self.name(entry):
                found.append(tensor)
        if node is not None and len(found) > MAX_TENSORS:
            self.fail(
                "CON-SPEC-VALUE", node, f"{group}: expected at most {MAX_TENSORS} tensors, got {len(found)}."
            )
        return tuple(found)

    def tensor(self, entry: Entry, group: str) -> TensorSpec | None:
        """Parse `dims [: domain] [, dtype]`."""
        text = self.text(entry.value, f"{group} {entry.key!r}")
        if text is None:
            return None
        head, comma, dtype = text.partition(",")
        dims_text, colon, domain = head.partition(":")
        dims, domain, dtype = tuple(dims_text.split()), domain.strip(), dtype.strip()
        where = f"{group} {entry.key!r}"
        if (
            (colon and not domain)
            or (comma and not dtype)
            or not dims
            or "," in dtype
            or ":" in domain + dtype
        ):
            self.fail(
                "CON-ENTRY",
                entry.value,
                f'{where}: expected "dims [: domain] [, dtype]" such as '
                f'"B T H : log_decay, float32", got {text!r}.',
            )
            return None
        return self.checked(
            entry,
            group,
            TensorSpec(
                name=entry.key,
                dims=dims,
                domain=domain or "normal",
                dtype=cast("TensorDtype", self.dtype(entry, group, dtype, domain == "index")),
            ),
        )

    def dtype(self, entry: Entry, group: str, dtype: str, index: bool) -> str:
        if index:
            if dtype:
                self.fail(
                    "CON-DTYPE-NAME",
                    entry.value,
                    f"{group} {entry.key!r}: expected no dtype beside the domain index, got "
                    f"{dtype!r}. Indices are int32.",
                )
            return "int32"
        if dtype not in ("", "io", "float32"):
            self.fail(
                "CON-DTYPE-NAME",
                entry.value,
                f"{group} {entry.key!r}: unknown dtype {dtype!r}. {nearest(dtype, ('io', 'float32'))}",
            )
        return dtype if dtype in ("io", "float32") else "float32" if group == "params" else "io"

    def checked(self, entry: Entry, group: str, tensor: TensorSpec) -> TensorSpec:
        where = f"{group} {entry.key!r}" if group != "output" else "output"
        if tensor.domain not in DOMAINS:
            self.fail(
                "CON-DOMAIN",
                entry.value,
                f"{where}: unknown domain {tensor.domain!r}. {nearest(tensor.domain, DOMAINS)}",
            )
        elif tensor.domain == "index" and group != "inputs":
            self.fail(
                "CON-DOMAIN",
                entry.value,
                f"{where}: expected a differentiable domain, got index. Only inputs may be indices.",
            )
        for dim in tensor.dims:
            if not DIM_NAME.fullmatch(dim):
                self.fail(
                    "CON-DIMS",
                    entry.value,
                    f"{where}: expected dimension names such as B T H K, got {dim!r}.",
                )
        repeated = sorted({dim for dim in tensor.dims if tensor.dims.count(dim) > 1})
        if repeated:
            self.fail(
                "CON-DIMS",
                entry.value,
                f"{where}: expected each dimension once, got {', '.join(repeated)} twice.",
            )
        self.leading_dims(entry, group, tensor.dims, where)
        return tensor

    def leading_dims(self, entry: Entry, group: str, dims: tuple[str, ...], where: str) -> None:
        """Inputs and the output start with B T; state starts with B and holds no T; params hold neither."""
        if group in ("inputs", "output") and dims[:2] != (BATCH, TIME):
            self.fail(
                "CON-DIMS",
                entry.value,
                f'{where}: expected dims that start with "B T", got {" ".join(dims)!r}.',
            )
        if group == "state" and dims[0] != BATCH:
            self.fail(
                "CON-DIMS",
                entry.value,
                f'{where}: expected dims that start with "B", got {" ".join(dims)!r}.',
            )
        if group == "params" and BATCH in dims:
            self.fail(
                "CON-DIMS",
                entry.value,
                f"{where}: expected dims without B, got {' '.join(dims)!r}. Parameters are shared.",
            )
        if group in ("state", "params") and TIME in dims:
            self.fail(
                "CON-DIMS",
                entry.value,
                f"{where}: expected dims without T, got {' '.join(dims)!r}. "
                "Nothing in it may grow with the sequence.",
            )

    def output(self, node: ast.expr | None) -> TensorSpec:
        default = TensorSpec(name="output", dims=(BATCH, TIME))
        if node is None:
            return default
        tensor = self.tensor(Entry("output", node, node), "output") or default
        if tensor.dtype != "io" or tensor.domain != "normal":
            self.fail(
                "CON-ENTRY",
                node,
                "output: expected dims only, got a domain or dtype. The output is what the run's dtype is.",
            )
        return tensor
