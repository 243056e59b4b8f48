"""What a result is computed from: the statements of a mechanism's file, by their distance from it.

Read from names alone, without regard to the order of statements, so a statement may be listed that has no
influence; it serves to say where to look first, never to judge.
"""

from __future__ import annotations

import ast
import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from verify.source.outline import WRAPPER_ENTRIES, Outline, span

Form = Literal["kernels", "reference", "parallel"]
"""Which of a mechanism's forms a result is of."""

_LONGEST = 4
"""Lines of one statement that are as near as its first."""

_NEAR, _FAR = 1, 3
"""Steps from a statement to what it uses."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Statement:
    """A simple statement, or the head of a compound one.

    `places` are the used names that only say where memory is read or written, or whether it is; `targets` are
    the pointers that it stores through. Of a launch, `grid` holds the names in its grid, and `launches` maps
    the kernel's parameters to the names of their arguments.
    """

    function: str
    node: ast.stmt
    parent: _Statement | None
    lines: range
    defines: frozenset[str]
    uses: frozenset[str]
    calls: frozenset[str]
    places: frozenset[str]
    targets: frozenset[str]
    kernel: str = ""
    grid: frozenset[str]
    launches: Mapping[str, frozenset[str]]


class Dependence:
    """The statements of one file, and which of them a result or a line depends on."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._statements = {
            name: list(self._read(name, node.body, None)) for name, node in outline.functions.items()
        }
        self._definitions: dict[tuple[str, str], list[_Statement]] = defaultdict(list)
        for one in (one for statements in self._statements.values() for one in statements):
            for name in one.defines:
                self._definitions[one.function, name].append(one)

    @cached_property
    def results(self) -> dict[str, tuple[str, int]]:
        """Result -> the wrapper that returns it and its place there: output, states, gradients."""
        inputs, params, state = (self._entries(part) for part in ("inputs", "params", "state"))
        places = {"output": ("forward", 0)}
        places |= {name: ("forward", 1 + place) for place, name in enumerate(state)}
        gradients = enumerate([*inputs, *params, *state])
        return places | {f"d_{name}": ("backward", place) for place, name in gradients}

    @cached_property
    def arguments(self) -> frozenset[str]:
        """The tensors that SPEC names."""
        return frozenset(name for part in ("inputs", "params", "state") for name in self._entries(part))

    def of_result(self, result: str, form: Form, *, access: bool = False) -> dict[int, int]:
        """Line -> distance, for the lines that a result of one of the forms depends on; with `access`, where
        it lies before what it holds.
        """
        if form != "kernels":
            return self._spread((one, 0) for one in self._returns(form))
        wrapper, place = self.results[result]
        starts: list[tuple[_Statement, int]] = []
        for one in self._returns(wrapper):
            starts.append((one, 1))
            for name in _returned(one.node, wrapper, place):
                starts += self._named(wrapper, name, 0, access=access)
        return self._spread(starts, access=access)

    def of_argument(self, name: str, form: Form) -> dict[int, int]:
        """Line -> distance, for the lines of a form that use an argument; the signature, where none does."""
        users = [one for one in self._statements.get(form, []) if name in one.uses]
        found = {line: 0 for one in users for line in one.lines}
        function = self._outline.functions.get(form)
        return found or ({function.lineno: 0} if function is not None else {})

    def of_line(self, line: int) -> dict[int, int]:
        """Line -> distance, for what an access at a line depends on, where it goes before what it carries; of
        a kernel's head: its launches and what it stores.
        """
        for name, statements in self._statements.items():
            first, last = span(self._outline.functions[name])
            if not first <= line <= last:
                continue
            here = [one for one in statements if line in one.lines]
            if here:
                return self._spread(((one, 0) for one in here), access=True)
            launches = {n: 0 for one in self._launches if one.kernel == name for n in one.lines}
            stores = {n: 1 for one in statements if one.targets for n in one.lines}
            return stores | launches
        return {}

    def _entries(self, part: str) -> list[str]:
        """The tensors of a part of SPEC; none where it cannot be read."""
        value = self._outline.assignment("SPEC")
        try:
            fields = ast.literal_eval(value) if value is not None else {}
            return [str(name) for name in fields.get(part, {})]
        except (ValueError, TypeError, AttributeError):
            return []

    def _read(
        self, function: str, body: Iterable[ast.stmt], parent: _Statement | None
    ) -> Iterator[_Statement]:
        for node in body:
            one = self._statement(function, node, parent)
            yield one
            for name in ("body", "orelse"):
                yield from self._read(function, getattr(node, name, []), one)

    def _statement(self, function: str, node: ast.stmt, parent: _Statement | None) -> _Statement:
        parts = _head(node)
        nodes = [inner for part in parts for inner in ast.walk(part)]
        names = [inner for inner in nodes if isinstance(inner, ast.Name)]
        written = {name.id for name in names if isinstance(name.ctx, ast.Store)}
        written |= {name for inner in nodes if (name := _changed_part(inner))}
        read = {name.id for name in names if isinstance(name.ctx, ast.Load)}
        if isinstance(node, ast.AugAssign):
            read |= written
        calls = [inner for inner in nodes if isinstance(inner, ast.Call)]
        launch = next((call for call in calls if self._launched(call)), None)
        last = node.end_lineno or node.lineno
        if getattr(node, "body", None):
            last = max([node.lineno, *(part.end_lineno or 0 for part in parts if isinstance(part, ast.expr))])
        return _Statement(
            function=function,
            node=node,
            parent=parent,
            lines=range(node.lineno, last + 1),
            defines=frozenset(written),
            uses=frozenset(read),
            calls=frozenset(() if launch else (name for name in read if name in self._outline.functions)),
            places=_places(nodes),
            targets=frozenset(name for call in calls for name in self._targets(call)),
            kernel=self._launched(launch) if launch else "",
            grid=_names(launch.func) if launch else frozenset(),
            launches=self._passed(launch) if launch else {},
        )

    def _launched(self, call: ast.Call) -> str:
        """The kernel that `kernel[grid](...)` launches."""
        target = call.func.value if isinstance(call.func, ast.Subscript) else None
        known = isinstance(target, ast.Name) and target.id in self._outline.kernels
        return target.id if known and isinstance(target, ast.Name) else ""

    def _passed(self, call: ast.Call) -> dict[str, frozenset[str]]:
        signature = self._outline.functions[self._launched(call)].args
        parameters = [one.arg for one in (*signature.posonlyargs, *signature.args)]
        pairs = [*zip(parameters, call.args, strict=False), *((k.arg or "", k.value) for k in call.keywords)]
        return {parameter: _names(value) for parameter, value in pairs}

    def _targets(self, call: ast.Call) -> list[str]:
        """The pointers of a store, or the arguments of a function of the file that stores."""
        if _is_store(call):
            return [_first_name(argument) for argument in call.args[:1]]
        called = self._outline.functions.get(call.func.id) if isinstance(call.func, ast.Name) else None
        stores = called is not None and any(_is_store(inner) for inner in ast.walk(called))
        return [_first_name(argument) for argument in call.args] if stores else []

    @cached_property
    def _launches(self) -> list[_Statement]:
        return [one for statements in self._statements.values() for one in statements if one.kernel]

    def _returns(self, function: str) -> list[_Statement]:
        return [one for one in self._statements.get(function, []) if isinstance(one.node, ast.Return)]

    @cached_property
    def _writers(self) -> dict[str, list[_Statement]]:
        """Variable of the wrappers -> the stores of every kernel that is launched with it as a target."""
        found: dict[str, list[_Statement]] = defaultdict(list)
        for launch in self._launches:
            own = self._statements[launch.kernel]
            stores = [one for one in own if one.targets]
            for parameter, names in launch.launches.items():
                aliases = {parameter} | {
                    alias for one in own if _first_name(one.node) == parameter for alias in one.defines
                }
                through = [one for one in stores if one.targets & aliases]
                for name in names:
                    found[name] += through
        return found

    def _ends(self, function: str) -> Iterator[_Statement]:
        """Where a function of the file hands on what it made; nothing for any other name."""
        own = self._statements.get(function, [])
        return (one for one in own if one.targets or isinstance(one.node, ast.Return))

    def _named(
        self, wrapper: str, name: str, distance: int, *, access: bool
    ) -> Iterator[tuple[_Statement, int]]:
        """What gives a wrapper's variable its contents: kernels that store there, and its definitions."""
        yield from ((one, distance) for one in self._writers.get(name, ()))
        apart = distance + (_NEAR if access else _FAR)  # it is allocated or viewed there
        yield from ((one, apart) for one in self._definitions.get((wrapper, name), ()))

    def _spread(self, starts: Iterable[tuple[_Statement, int]], *, access: bool = False) -> dict[int, int]:
        """Line -> distance. What numbers are made of is near and where they lie is far; with `access`, the
        other way round.
        """
        found: dict[_Statement, int] = {}
        todo = [(distance, id(one), one) for one, distance in starts]
        heapq.heapify(todo)
        while todo:
            distance, _, one = heapq.heappop(todo)
            if one in found:
                continue
            found[one] = distance
            for other, further in self._next(one, distance, access=access):
                if other not in found:
                    heapq.heappush(todo, (further, id(other), other))
        lines: dict[int, int] = {}
        for one, distance in found.items():
            for place, line in enumerate(one.lines):
                further = distance + place // _LONGEST
                lines[line] = min(further, lines.get(line, further))
        return lines

    def _next(self, one: _Statement, distance: int, *, access: bool) -> Iterator[tuple[_Statement, int]]:
        """What a statement depends on directly. Of a launch that is its grid: its arguments are asked for one
        by one, where the kernel uses them.
        """
        if one.parent is not None:
            yield one.parent, distance + 1
        if one.kernel:
            for name in one.grid:
                yield from self._named(one.function, name, distance + 1, access=access)
            return
        for name in one.calls:
            yield from ((end, distance + 1) for end in self._ends(name))
        if one.function in WRAPPER_ENTRIES:
            # What a wrapper returns is asked for result by result: one does not depend on the others.
            for name in () if isinstance(one.node, ast.Return) else one.uses:
                yield from self._named(one.function, name, distance + 1, access=access)
            return
        for name in one.uses:
            far = distance + (_NEAR if (name in one.places) == access else _FAR)
            yield from ((s, far) for s in self._definitions.get((one.function, name), ()))
            for launch in (s for s in self._launches if one.function == s.kernel and name in s.launches):
                yield launch, far + 1
                for passed in launch.launches[name]:
                    yield from self._named(launch.function, passed, far, access=access)
                    yield from ((end, far + 1) for end in self._ends(passed))


def _head(node: ast.stmt) -> list[ast.AST]:
    """The parts of a statement that are not statements themselves."""
    if not getattr(node, "body", None):
        return [node]
    return [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt)]


def _names(node: ast.AST) -> frozenset[str]:
    return frozenset(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))


def _returned(node: ast.stmt, wrapper: str, place: int) -> frozenset[str]:
    """The names in one place of what a wrapper returns: (output, states, residuals), or the gradients."""
    value = node.value if isinstance(node, ast.Return) else None
    if value is None:
        return frozenset()
    if wrapper == "forward":
        for index in (0,) if place == 0 else (1, place - 1):
            value = _element(value, index)
    else:
        value = _element(value, place)
    return _names(value)


def _element(value: ast.expr, index: int) -> ast.expr:
    """One element of a tuple that is written out; of anything else, all of it."""
    written_out = isinstance(value, ast.Tuple) and not any(isinstance(e, ast.Starred) for e in value.elts)
    if written_out and isinstance(value, ast.Tuple) and index < len(value.elts):
        return value.elts[index]
    return value


def _changed_part(node: ast.AST) -> str:
    """The variable of `name[...] = ...` and of `name.append(...)`, which go on from what it was."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
        return _first_name(node.value)
    method = node.func if isinstance(node, ast.Call) else None
    if isinstance(method, ast.Attribute) and method.attr in ("append", "extend", "insert"):
        return _first_name(method.value)
    return ""


def _is_store(node: ast.AST) -> bool:
    """A call of tl.store, or of an atomic operation."""
    name = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
    return name == "store" or name.startswith("atomic_")


def _is_load(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "load"


def _places(nodes: Iterable[ast.AST]) -> frozenset[str]:
    """Names that occur in addresses and masks, or lend their dtype, and nowhere else."""
    everywhere = [inner.id for inner in nodes if isinstance(inner, ast.Name)]
    lent = (
        inner for inner in nodes if isinstance(inner, ast.Attribute) and inner.attr in ("dtype", "device")
    )
    placed = [_first_name(inner.value) for inner in lent]
    for call in (inner for inner in nodes if isinstance(inner, ast.Call)):
        if _is_load(call) or _is_store(call):
            value = call.args[1:2] if _is_store(call) else []
            parts = [*(one for one in call.args if one not in value), *(k.value for k in call.keywords)]
            found = [inner.id for part in parts for inner in ast.walk(part) if isinstance(inner, ast.Name)]
            if _is_load(call) and call.args and (pointer := _first_name(call.args[0])) in found:
                found.remove(pointer)  # what lies there is a number like any other
            placed += found
    return frozenset(name for name in placed if placed.count(name) == everywhere.count(name))


def _first_name(node: ast.AST) -> str:
    """The name that an expression, or what a statement assigns, begins with: the pointer of an address."""
    if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
        return _first_name(node.value) if node.value is not None else ""
    while isinstance(node, ast.BinOp):
        node = node.left
    return node.id if isinstance(node, ast.Name) else ""
