"""Mutations that are made by rule: of each function of the hot modules, every comparison, call, ``except`` clause, …

A mutation is known by its text: the module, the function, and the line before and after. So it is the same one after
other lines have moved, and the choice changes little when the source does.
"""

from __future__ import annotations

import ast
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from tests import ROOT
from tests.mutations.planting import Mutant

HOT = ("reactor/loop", "reactor/table", "reactor/rows", "reactor/servers", "reactor/modes",
       "handlers/machine.py", "handlers/channel.py", "handlers/filter.py")  # fmt: skip
"""The modules that run for every request, and those that begin and end them."""

COMPARISONS = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
"""What each comparison becomes: its opposite, or the one that differs in the equal case only."""


class Ruled(NamedTuple):
    """A mutation that a rule has made."""

    path: str
    """The path of the module in the checkout."""
    lines: range
    """The lines of the source that run where the mutation is."""
    source: str
    """The whole text of the module with the mutation."""
    key: str
    """What it is known by."""

    def mutant(self):
        """The module with the mutation."""
        return Mutant(self.path, self.source)


def hot_modules():
    """The paths of the hot modules in the checkout."""
    for name in HOT:
        place = ROOT / name
        for path in [place] if place.suffix else sorted(place.rglob("*.py")):
            yield path.relative_to(ROOT).as_posix()


def candidates(path, source=None):
    """Every mutation of the module that a rule makes; ``source`` is its text, if it is not that of the checkout."""
    source = (ROOT / path).read_text() if source is None else source
    text = Text(source)
    seen = {}
    for function, name in _functions(ast.parse(source), ""):
        for node in _own_nodes(function):
            for rule, begin, end, new in edits(node, text):
                key = f"{path} {name}: {rule}: {text.excerpt(begin, end)}"
                seen[key] = number = seen.get(key, 0) + 1
                mutated = source[:begin] + new + source[end:]
                yield Ruled(path, text.lines(begin, end), mutated, f"{key} #{number}" if number > 1 else key)


def choice(count):
    """``count`` of all candidates: one of each module in turn, and of each module one by each rule in turn."""
    found = list(zip_longest(*(_in_turn(list(candidates(path))) for path in hot_modules())))
    return [mutation for turn in found for mutation in turn if mutation is not None][:count]


def equivalent():
    """The reason for each mutation of which ``survivors.txt`` says that no test can find it, by its key."""
    _, *entries = (Path(__file__).parent / "survivors.txt").read_text().split("\n\n")
    return {key: " ".join(reason.split()) for key, _, reason in (entry.strip().partition("\n") for entry in entries)}


def _in_turn(mutations):
    """The mutations in an order of chance that stays the same, one by each rule in turn."""
    by_rule = {}
    for mutation in sorted(mutations, key=lambda mutation: sha256(mutation.key.encode()).digest()):
        by_rule.setdefault(mutation.key.split(": ")[1], []).append(mutation)
    return [mutation for turn in zip_longest(*by_rule.values()) for mutation in turn if mutation is not None]


def edits(node, text):
    """What the rules make of one node: the name of the rule, the begin and the end of what is replaced, and by what."""
    if not isinstance(node, ast.expr | ast.stmt | ast.ExceptHandler):
        return
    begin, end = text.span(node)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        new = COMPARISONS[type(node.ops[0])]
        yield f"becomes {new}", *text.between(node.left, node.comparators[0]), new
    elif isinstance(node, ast.BoolOp):
        new = "or" if isinstance(node.op, ast.And) else "and"
        for left, right in zip(node.values, node.values[1:], strict=False):
            yield f"becomes {new}", *text.between(left, right), new
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await):
        yield "is dropped", begin, end, "pass"
    elif isinstance(node, ast.ExceptHandler):
        yield from _edits_of_clause(node, text)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield "is one more", begin, end, f"({node.value!r} + 1)"
    elif isinstance(node, ast.Return) and node.value is not None:
        yield from _edits_of_return(node.value, text)


def _edits_of_clause(node, text):
    begin, end = text.span(node.body[0])[0], text.span(node.body[-1])[1]
    if not isinstance(node.body[-1], ast.Raise):
        yield "is raised again", begin, end, "raise"
    if not isinstance(node.body[0], ast.Pass):
        yield "is passed over", begin, end, "pass"


def _edits_of_return(value, text):
    begin, end = text.span(value)
    if isinstance(value, ast.Constant) and isinstance(value.value, bool):
        yield "returns the other", begin, end, str(not value.value)
    elif isinstance(value, ast.BoolOp | ast.UnaryOp | ast.Compare):
        yield "returns the other", begin, end, f"not ({text.source[begin:end]})"
    elif not (isinstance(value, ast.Constant) and value.value is None):
        yield "returns None", begin, end, "None"


def _functions(node, prefix):
    """The functions below the node, with their names; not those inside a function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child, prefix + child.name
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")
        elif not (isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING"):
            yield from _functions(child, prefix)


def _own_nodes(function):
    """The nodes in the body of the function: not its signature, no annotation, and no text that it makes."""
    left = list(reversed(function.body))
    while left:
        node = left.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            left += reversed(node.body)
        elif not isinstance(node, ast.JoinedStr):
            left += [child for name, value in ast.iter_fields(node) if name != "annotation"
                     for child in (value if isinstance(value, list) else [value])
                     if isinstance(child, ast.AST)][::-1]  # fmt: skip


class Text:
    """The text of a module, in which a node has its place by line and by byte of the line."""

    def __init__(self, source):
        self.source = source
        self._lines = source.splitlines(keepends=True)
        self._begins = [0]
        for line in self._lines:
            self._begins.append(self._begins[-1] + len(line))

    def span(self, node):
        """Where the node begins and ends."""
        return self._place(node.lineno, node.col_offset), self._place(node.end_lineno, node.end_col_offset)

    def between(self, left, right):
        """Where the operator is that stands between two nodes."""
        begin, end = self.span(left)[1], self.span(right)[0]
        gap = self.source[begin:end]
        return begin + len(gap) - len(gap.lstrip(") \n")), end - len(gap) + len(gap.rstrip("( \n"))

    def excerpt(self, begin, end):
        """The line in which this place begins, with marks around it."""
        number = self.lines(begin, end)[0]
        start = self._begins[number - 1]
        line = self._lines[number - 1].rstrip("\n")
        stop = min(end - start, len(line))
        return f"{line[: begin - start]}[{line[begin - start : stop]}]{line[stop:]}".strip()

    def lines(self, begin, end):
        """The numbers of the lines from one place to another."""
        first = self.source.count("\n", 0, begin) + 1
        return range(first, first + self.source.count("\n", begin, end) + 1)

    def _place(self, line, column):
        return self._begins[line - 1] + len(self._lines[line - 1].encode()[:column].decode())
