"""Whether something that a handler keeps grows without a bound, as its source says. Used by `lint`.

A container grows if code adds to it that runs again and again: a state that may come again, a helper of such a state,
or a loop that awaits. It is bounded if that code also removes from it, empties it, sets it anew or measures it, or if a
test counts the rounds. A container that is passed to other code is never reported, because that code may remove from
it.
"""

from __future__ import annotations

import ast
import builtins
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from .source import endless_loops, reached, vars_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .source import Method, Source

_KINDS = {
    "bytes": "text", "str": "text", "tuple": "text", "list": "list", "bytearray": "list", "deque": "list", "set": "set",
    "dict": "dict", "OrderedDict": "dict", "defaultdict": "counter", "Counter": "counter", "BytesIO": "file",
    "StringIO": "file",
}  # fmt: skip
"""The known containers, by how they grow. A ``counter`` adds a key when it is read."""

_DISPLAYS = {
    ast.List: "list", ast.ListComp: "list", ast.Tuple: "text", ast.Dict: "dict", ast.DictComp: "dict", ast.Set: "set",
    ast.SetComp: "set", ast.JoinedStr: "text",
}  # fmt: skip
_GROWING = {
    "list": ("append", "extend", "appendleft", "extendleft", "insert"),
    "set": ("add", "update"),
    "dict": ("setdefault", "update"),
    "counter": ("setdefault", "update"),
    "file": ("write", "writelines"),
}
_KEYED = "add", "setdefault"
_SHRINKING = (
    "clear", "pop", "popleft", "remove", "discard", "truncate", "popitem", "seek", "difference_update",
    "intersection_update",
)  # fmt: skip
_MEASURING = "tell", "getbuffer", "__len__"
_ADDED_WITH: dict[str, tuple[type[ast.operator], ...]] = {
    "text": (ast.Add,), "list": (ast.Add,), "set": (ast.BitOr,), "dict": (ast.BitOr,), "counter": (ast.Add, ast.BitOr),
}  # fmt: skip
_READING = "join", "send", "write", "sendall"
_MEASURES = len, sum
_ORDER = ast.Lt, ast.LtE, ast.Gt, ast.GtE
_HANDING_ON = (
    ast.Assign, ast.AnnAssign, ast.NamedExpr, ast.Return, ast.Yield, ast.Tuple, ast.List, ast.Dict, ast.keyword,
    ast.Lambda, ast.withitem, ast.Await,
)  # fmt: skip
_SIDES = 0, -1  # a comparison with these tests the result of a search, and not a size


class Use(NamedTuple):
    """A use of something that a handler keeps."""

    effect: str
    """One of ``"grows"``, ``"cut"`` and ``"measured"``."""
    method: Method
    node: ast.AST


class Growth:
    """Finds what grows in one handler class."""

    def __init__(self, source: Source) -> None:
        self._source = source
        trees = [method.tree for method in source.methods]
        nodes = [node for tree in trees for node in ast.walk(tree)]
        self._parents: dict[ast.AST, ast.AST] = {child: node for node in nodes for child in ast.iter_child_nodes(node)}
        self._loops = {loop for method in source.methods for loop in endless_loops(method)}
        self._repeated, self._once = self._what_repeats()

    def found(self) -> Iterator[tuple[Method, ast.AST, str]]:
        """The places where something grows without a bound, and its name."""
        attributes: dict[str, list[tuple[Method, ast.expr]]] = {}
        for method in self._source.methods:
            names: dict[str, list[tuple[Method, ast.expr]]] = {}
            for node in ast.walk(method.tree):
                if isinstance(node, ast.Attribute) and method.is_own(node.value):
                    attributes.setdefault(method.mangled(node.attr), []).append((method, node))
                elif isinstance(node, ast.Name) and method.is_local(node.id):
                    names.setdefault(node.id, []).append((method, node))
            for name, places in names.items():
                yield from self._unbounded(name, places, shared=False)
        for name, places in attributes.items():
            kept = vars_of(self._source.kind, name)
            shared = name not in self._source.stored and isinstance(kept, (list, dict, set, bytearray, deque))
            yield from self._unbounded(f"self.{name}", places, shared, kept)

    def _unbounded(
        self, name: str, places: list[tuple[Method, ast.expr]], shared: bool, kept: object = None
    ) -> Iterator[tuple[Method, ast.AST, str]]:
        kind = self._kind(places, kept)
        if not kind:
            return
        uses = [use for method, node in places for use in self._uses(method, node, kind)]
        for use in uses:
            if use.effect == "grows" and not self._bounded(use, uses, name.startswith("self."), shared):
                yield use.method, use.node, f"{name}, which all requests share," if shared else name
                return

    # Kinds of containers

    def _kind(self, places: list[tuple[Method, ast.expr]], kept: object) -> str:
        """The kind of container that a name is set to; empty if it is no container, or one with a bound."""
        limited = isinstance(kept, deque) and kept.maxlen is not None
        kinds = [_KINDS.get(type(kept).__name__, "")]
        for _, node in places:
            value = self._set_to(node)
            if value is not None:
                limited = limited or _is_limited(value)
                kinds.append(_container(value))
        return "" if limited else next(filter(None, kinds), "")

    def _set_to(self, node: ast.expr) -> ast.expr | None:
        if not isinstance(node.ctx, ast.Store):  # type: ignore[attr-defined]
            return None
        parent = self._parents[node]
        if isinstance(parent, (ast.Assign, ast.AnnAssign, ast.NamedExpr)):
            return parent.value
        around = self._parents.get(parent)
        if isinstance(parent, ast.Tuple) and isinstance(around, ast.Assign) and isinstance(around.value, ast.Tuple):
            place, values = parent.elts.index(node), around.value.elts
            return values[place] if len(parent.elts) == len(values) else None
        return None

    # Uses of a container

    def _uses(self, method: Method, node: ast.expr, kind: str) -> Iterator[Use]:
        parent = self._parents[node]
        effect = ""
        if isinstance(node.ctx, ast.Del):  # type: ignore[attr-defined]
            effect = "cut"
        elif isinstance(node.ctx, ast.Store):  # type: ignore[attr-defined]
            if isinstance(parent, ast.AugAssign):
                effect = "grows" if isinstance(parent.op, _ADDED_WITH.get(kind, ())) else "cut"
            else:
                value = self._set_to(node)
                effect = "grows" if value is not None and _keeps(value, ast.unparse(node)) else "cut"
        elif isinstance(parent, ast.Attribute):
            effect = self._called(method, parent, kind)
        elif isinstance(parent, ast.Subscript) and parent.value is node:
            effect = self._item(method, parent, kind)
        elif kind != "text" and self._escapes(method, node, parent):
            effect = "cut"
        if effect:
            yield Use(effect, method, node)
        if any(isinstance(call, ast.Call) and method.value(call.func) in _MEASURES for call in self._around(node)):
            yield Use("measured", method, node)

    def _called(self, method: Method, attribute: ast.Attribute, kind: str) -> str:
        call, name = self._parents[attribute], attribute.attr
        if not isinstance(call, ast.Call) or call.func is not attribute:
            return ""
        if name in _GROWING.get(kind, ()):
            keyed = name in _KEYED and call.args
            return "" if keyed and not self._is_new(method, call.args[0], attribute.value) else "grows"
        return "cut" if name in _SHRINKING else "measured" if name in _MEASURING else ""

    def _item(self, method: Method, item: ast.Subscript, kind: str) -> str:
        """The effect of a use of ``kept[key]``."""
        parent = self._parents[item]
        if isinstance(item.ctx, ast.Del) or (isinstance(item.ctx, ast.Store) and isinstance(item.slice, ast.Slice)):
            return "cut"
        if isinstance(item.ctx, ast.Load):
            call = self._parents[parent]
            grows = isinstance(parent, ast.Attribute) and isinstance(call, ast.Call) and call.func is parent
            return "grows" if grows and parent.attr in _GROWING["list"] else ""  # type: ignore[attr-defined]
        makes_keys = kind == "counter" or (kind == "dict" and not isinstance(parent, ast.AugAssign))
        return "grows" if makes_keys and self._is_new(method, item.slice, item.value) else ""

    def _is_new(self, method: Method, key: ast.expr, kept: ast.expr) -> bool:
        """Whether there may be any number of such keys. Not if the key is looked up in another container too."""
        if isinstance(key, ast.Constant) or (isinstance(key, ast.BinOp) and isinstance(key.op, (ast.Mod, ast.BitAnd))):
            return False
        compared = [node for node in ast.walk(method.tree) if isinstance(node, ast.Compare)]
        return not any(
            isinstance(node.ops[0], (ast.In, ast.NotIn))
            and ast.unparse(node.left) == ast.unparse(key)
            and ast.unparse(node.comparators[0]) != ast.unparse(kept)
            for node in compared
        )

    def _escapes(self, method: Method, node: ast.expr, parent: ast.AST) -> bool:
        """Whether it is passed to code that may remove from it: to a function, or under another name."""
        if isinstance(parent, ast.Call):
            name = parent.func.attr if isinstance(parent.func, ast.Attribute) else ""
            value = method.value(parent.func)
            return name not in _READING and not (isinstance(parent.func, ast.Name) and value in vars(builtins).values())
        return isinstance(parent, _HANDING_ON)

    # Where it happens

    def _what_repeats(self) -> tuple[set[Any], set[Any]]:
        """The methods that may run any number of times for a request, and those that run once."""
        goes: dict[Any, list[Any]] = {}
        calls: dict[Any, list[Any]] = {}
        repeated: set[Any] = set()
        for method in self._source.methods:
            here = _key(method)
            for node in ast.walk(method.tree):
                for other in method.callables(node) if isinstance(node, ast.Attribute) else ():
                    goes.setdefault(here, []).append(_key(other))
                    if self._comes_back(node):
                        calls.setdefault(here, []).append(_key(other))
                        if self._loop(node) is not None:
                            repeated.add(_key(other))
        repeated |= {here for here in goes if here in reached(goes, here)}
        for here in list(repeated):
            repeated |= reached(calls, here)
        begun = {_key(method) for method in self._source.methods if method.attribute in ("handle", "setup", "__init__")}
        return repeated, begun.union(*(reached(goes, here) for here in begun)) - repeated

    def _comes_back(self, node: ast.AST) -> bool:
        """Whether the function goes on after this call, so that it is not a step to another state."""
        call = self._parents[node]
        if not (isinstance(call, ast.Call) and call.func is node):
            return False
        above = self._parents[call]
        while isinstance(above, (ast.IfExp, ast.Await)):
            above = self._parents[above]
        return not isinstance(above, (ast.Return, ast.Lambda))

    def _around(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around a node, from the inside to the outside."""
        while node in self._parents:
            node = self._parents[node]
            yield node

    def _loop(self, node: ast.AST) -> ast.AST | None:
        """The innermost loop around a node that awaits and has no bound."""
        return next((loop for loop in self._around(node) if loop in self._loops), None)

    def _bounded(self, growth: Use, uses: list[Use], kept: bool, shared: bool) -> bool:
        """Whether something bounds the growth."""
        loop = self._loop(growth.node)
        runs_again = kept and (shared or _key(growth.method) in self._repeated)
        if loop is None and not runs_again:
            return True
        for use in uses:
            if use.effect == "grows":
                continue
            if use.method is growth.method:
                if loop is None or loop in self._around(use.node):
                    return True
            elif self._counts(use, shared):
                return True
        regions = [loop] if loop is not None else [
            method.tree for method in self._source.methods if _key(method) in self._repeated
        ]  # fmt: skip
        return not shared and any(self._is_counted(region, growth.node) for region in regions)

    def _counts(self, use: Use, shared: bool) -> bool:
        """Whether a use in another method bounds the growth: it happens as often, or when the request has ended."""
        if use.method.attribute in ("__init__", "setup"):
            return False
        if use.method.attribute == "finish":
            return shared
        return _key(use.method) not in self._once or self._loop(use.node) is not None

    def _is_counted(self, region: ast.AST, growth: ast.AST) -> bool:
        """Whether a test in ``region`` counts the rounds."""
        counted = set(_counted(region)) - {ast.unparse(growth)}
        for node in ast.walk(region):
            if isinstance(node, ast.While) and node is not region and growth not in ast.walk(node):
                continue
            test = getattr(node, "test", None) or getattr(node, "guard", None)
            if isinstance(test, ast.expr) and (_leaves(node) or growth in ast.walk(node)) and _measures(test, counted):
                return True
        return False


def _key(method: Method) -> tuple[object, str]:
    return method.owner, method.attribute


def _container(value: ast.expr) -> str:
    if isinstance(value, ast.Constant):
        return "text" if isinstance(value.value, (bytes, str)) else ""
    if isinstance(value, ast.Call):
        return _KINDS.get(ast.unparse(value.func).rpartition(".")[2], "")
    return _DISPLAYS.get(type(value), "")


def _is_limited(value: ast.expr) -> bool:
    """Whether the expression constructs a deque with a ``maxlen``."""
    if not isinstance(value, ast.Call) or ast.unparse(value.func).rpartition(".")[2] != "deque":
        return False
    said = [*value.args[1:], *(word.value for word in value.keywords if word.arg in ("maxlen", None))]
    return any(not (isinstance(limit, ast.Constant) and limit.value is None) for limit in said)


def _keeps(value: ast.AST, text: str) -> bool:
    """Whether the value contains all of what the expression ``text`` has, and more."""
    if isinstance(value, ast.BinOp) and isinstance(value.op, (ast.Add, ast.BitOr)):
        return any(_is_whole(side, text) for side in (value.left, value.right))
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mod):
        return _keeps(value.right, text)
    if isinstance(value, ast.IfExp):
        return _keeps(value.body, text) and _keeps(value.orelse, text)
    if isinstance(value, (ast.List, ast.Tuple, ast.Set, ast.JoinedStr)):
        return any(_is_whole(part, text) for part in ast.iter_child_nodes(value))
    if isinstance(value, ast.Dict):
        return any(key is None and _is_whole(part, text) for key, part in zip(value.keys, value.values, strict=True))
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == "join":
        return any(_keeps(part, text) for part in value.args)
    return False


def _is_whole(value: ast.AST, text: str) -> bool:
    if isinstance(value, (ast.Starred, ast.FormattedValue)):
        return _is_whole(value.value, text)
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in _KINDS:
        return any(_is_whole(part, text) for part in value.args)
    return ast.unparse(value) == text or _keeps(value, text)


def _counted(region: ast.AST) -> Iterator[str]:
    """The expressions in ``region`` that are counted up or down."""
    for node in ast.walk(region):
        if isinstance(node, ast.AugAssign) and isinstance(node.op, (ast.Add, ast.Sub)):
            yield ast.unparse(node.target)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp) and len(node.targets) == 1:
            if ast.unparse(node.targets[0]) == ast.unparse(node.value.left):
                yield ast.unparse(node.targets[0])
        elif isinstance(node, (ast.For, ast.AsyncFor)) and node is region:
            yield from (part.id for part in ast.walk(node.target) if isinstance(part, ast.Name))


def _leaves(node: ast.AST) -> bool:
    return isinstance(node, (ast.While, ast.Assert, ast.IfExp)) or any(
        isinstance(part, (ast.Return, ast.Raise, ast.Break)) for part in ast.walk(node)
    )


def _measures(test: ast.expr, counted: set[str]) -> bool:
    for node in ast.walk(test):
        if isinstance(node, (ast.Name, ast.Attribute)) and ast.unparse(node) in counted:
            return True
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], _ORDER):
            sides = [_constant(side) for side in (node.left, *node.comparators)]
            if not any(side in _SIDES for side in sides if side is not None):
                return True
    return False


def _constant(node: ast.expr) -> object:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        return -node.operand.value if isinstance(node.operand.value, int) else None
    return node.value if isinstance(node, ast.Constant) else None
