"""`Generator`: writes the Python module for the definitions of a scope. Equal definitions give the same text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .errors import LanguageError
from .names import FIELD, MEMBER, METHOD, MODULE, Names
from .scope import PREDEFINED, RANGES, SIMPLE, Named, Scope, name_of
from .tree import (
    FIXED,
    PLAIN,
    POINTER,
    VARIABLE,
    Const,
    Declaration,
    Enum,
    Procedure,
    Program,
    Struct,
    Type,
    Typedef,
    Union,
    Version,
)
from .words import Word

_HEAD = '''"""Written from {file} by ``python3 -m handlers.sunrpc compile``. Change that file, and not this one."""'''


PROGRAMS = (
    "calling import Calls, Reply", "client import VersionClient",
    "program import Made, Procedure, Program, Version, declared",
)  # fmt: skip
"""What a module with programs imports."""


@dataclass
class Body:
    """The namespace of a class, and the names of its own in it."""

    names: Names
    own: set[str] = field(default_factory=set)

    def take(self, name: str) -> str:
        """The name of a field or method."""
        found = self.names.new(name)
        self.own.add(found)
        return found


class Generator:
    """Writes the definitions of one scope."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.names = Names(MODULE)
        self.members: dict[str, str] = {}
        """The Python names of the members of enums, with the class before them."""
        self._parts: list[str] = []
        self._state: dict[str, bool] = {}
        self._aliases: dict[str, str] = {}
        for name, definition in scope.definitions.items():
            own = self.names[name]
            if isinstance(definition, Enum):
                inner = Names(MEMBER)
                self.members |= {str(member): f"{own}.{inner[member]}" for member, _ in definition.members}

    def module(self, file: str, package: str) -> str:
        """The text of the module, which imports from the package."""
        for name in self.scope.definitions:
            self._write(name)
        aliases = [f"{alias}: TypeAlias = {name}" for name, alias in self._aliases.items()]
        body = "\n".join([*self._parts, *aliases])
        imports = [
            "from dataclasses import dataclass" if "@dataclass" in body else "",
            "from enum import IntEnum" if "(IntEnum)" in body else "",
            _from("typing", [name for name in ("Annotated", "TypeAlias") if re.search(rf"\b{name}\b", body)]),
        ]
        ours = [
            f"from {package} import xdr" if re.search(r"\bxdr\.", body) else "",
            *(f"from {package}.{names}" for names in PROGRAMS if "(Program)" in body),
        ]
        groups = [["from __future__ import annotations"], imports, ours]
        head = "\n\n".join("\n".join(filter(None, group)) for group in groups if any(group))
        whole = "\n\n".join([_HEAD.format(file=re.sub(r"[^\w.+-]", "_", file, flags=re.ASCII)), head, body])
        return re.sub(r"\n{4,}", "\n\n\n", whole).rstrip("\n") + "\n"

    def _write(self, name: str, by: Word | None = None) -> None:
        """Write the definition, after those that it needs when the module is executed."""
        if name not in self.scope.definitions or self._state.get(name):
            return
        definition = self.scope.definitions[name]
        if name in self._state:
            raise (by or name_of(definition)).error(f"{name} is defined by itself")
        self._state[name] = False
        for needed, place in self._needs(definition):
            self._write(needed, place)
        self._state[name] = True
        self._parts += self._written(definition)

    def _needs(self, definition: Named) -> Iterator[tuple[str, Word]]:
        """The names that the definition needs. Annotations of classes are not executed with the module."""
        if isinstance(definition, Const):
            yield from self._owner(definition.value)
        elif isinstance(definition, Enum):
            own = {member for member, _ in definition.members}
            for _, value in definition.members:
                if value and value not in own:
                    yield from self._owner(value)
        elif isinstance(definition, Typedef):
            yield from self._named(definition.declaration)
        elif isinstance(definition, Program):
            for version in definition.versions:
                for procedure in version.procedures:
                    for declaration in (procedure.result, *procedure.arguments):
                        yield from self._named(declaration)

    def _owner(self, word: Word) -> Iterator[tuple[str, Word]]:
        if word.kind == "NAME":
            member = self.scope.members.get(word)
            yield str(member.name if member else word), word

    def _named(self, declaration: Declaration) -> Iterator[tuple[str, Word]]:
        if isinstance(declaration.type, Type):
            yield declaration.type.name, Word(declaration.type.name, "NAME", declaration.type.place)
        if declaration.size:
            yield from self._owner(declaration.size)

    def _written(self, definition: Named) -> list[str]:
        match definition:
            case Const():
                return [f"{self.names[definition.name]} = {self.text(definition.value)}"]
            case Enum():
                return [self._enum(definition)]
            case Typedef():
                body = Body(self.names)
                name = self.names[name_of(definition)]
                return [f"{name}: TypeAlias = {self.annotation(definition.declaration, body)}"]
            case Struct():
                return [self._struct(definition)]
            case Union():
                return [self._union(definition)]
        return self._program(definition)

    # Constants

    def text(self, word: Word) -> str:
        """A constant as Python has it: by its name if it has one, else by the number in its base."""
        value = self.scope.value(word)
        if word.kind == "NAME":
            if word in self.members:
                return self.members[word]
            if isinstance(self.scope.definitions.get(word), Const):
                return self.names[word]
            return str(value)
        if isinstance(value, str):
            return json.dumps(value)
        if re.match(r"-?\s*0[xX]", word):
            return f"{'-' if value < 0 else ''}0x{word.upper().partition('X')[2].rstrip('UL')}"
        return f"{value:#o}" if re.match(r"-?\s*0\d", word) else str(value)

    def _enum(self, enum: Enum) -> str:
        lines = [f"class {self.names[enum.name]}(IntEnum):", f'    """enum {enum.name}"""', ""]
        values = self.scope.values(enum)
        for member, value in enum.members:
            text = self.text(value) if value and value.kind == "NUMBER" else str(values[member])
            lines.append(f"    {self.members[member].partition('.')[2]} = {text}")
        return _class(lines)

    # Types

    def annotation(self, declaration: Declaration, body: Body) -> str:
        """The annotation of a declaration."""
        kind, size = declaration.type, declaration.size
        assert isinstance(kind, Type)
        if kind.name in ("opaque", "string") and kind.name not in self.scope.definitions:
            return self._sized({"opaque": "bytes", "string": "str"}[kind.name], declaration)
        if kind.name == "void":
            raise LanguageError(kind.place, "void has no values")
        item = self._reference(kind, body)
        if declaration.form == PLAIN:
            return item
        if declaration.form == POINTER:
            return f"Annotated[list[{item}], xdr.AtMost(1)]" if self._is_optional(kind) else f"{item} | None"
        if size is None:
            return f"list[{item}]"
        bound = "Length" if declaration.form == FIXED else "AtMost"
        return f"Annotated[list[{item}], xdr.{bound}({self._length(size)})]"

    def _sized(self, python: str, declaration: Declaration) -> str:
        assert isinstance(declaration.type, Type)
        kind, size = declaration.type.name, declaration.size
        if declaration.form == VARIABLE:
            return f"Annotated[{python}, xdr.AtMost({self._length(size)})]" if size else python
        if declaration.form == FIXED and size and kind == "opaque":
            return f"Annotated[bytes, xdr.Length({self._length(size)})]"
        if kind == "string" and declaration.form == PLAIN and declaration.name is None:
            return python  # the argument or the result of a procedure
        forms = "opaque name[length], opaque name<maximum> or opaque name<>"
        forms = forms if kind == "opaque" else "string name<maximum> or string name<>"
        raise LanguageError(declaration.type.place, f"expected {forms}")

    def _length(self, word: Word) -> str:
        self.scope.unsigned(word)
        return self.text(word)

    def _reference(self, kind: Type, body: Body) -> str:
        """The name of a type. Where a field has the same name, another name for the type is made."""
        if self.scope.type(kind) is None:
            return SIMPLE.get(kind.name) or PREDEFINED[kind.name]
        name = self.names[kind.name]
        if name not in body.own:
            return name
        if name not in self._aliases:
            self._aliases[name] = self.names.new(f"_{name}")
        return self._aliases[name]

    def _is_optional(self, kind: Type) -> bool:
        """Whether a value of the type may be None already, so that None would say nothing of a pointer to it."""
        found = self.scope.final(Declaration(kind, None))
        return isinstance(found, Declaration) and found.form == POINTER

    # Classes

    def _struct(self, struct: Struct) -> str:
        body = Body(Names(FIELD))
        names = [self._take(body, each) for each in struct.fields]
        lines = ["@dataclass(slots=True)", f"class {self.names[struct.name]}:", f'    """struct {struct.name}"""', ""]
        for name, each in zip(names, struct.fields, strict=True):
            lines.append(f"    {name}: {self.annotation(each, body)}")
        return _class(lines)

    def _take(self, body: Body, declaration: Declaration) -> str:
        if declaration.name is None:
            assert isinstance(declaration.type, Type)
            raise LanguageError(declaration.type.place, "void is no field")
        if declaration.name in body.names:
            raise declaration.name.error(f"{declaration.name} is already a field")
        return body.take(declaration.name)

    def _union(self, union: Union) -> str:
        body = Body(Names(FIELD))
        which = self._take(body, union.discriminant)
        value = body.take("value" if which != "value" else "arm")
        cases = self._cases(union)
        arms = [arm for _, arm in cases] + ([union.default] if union.default else [])
        discriminant = self.annotation(union.discriminant, body)
        kinds = {id(arm): self._arm(arm, body) for arm in arms}
        alternatives = [*dict.fromkeys(part for kind in kinds.values() for part in kind.split(" | "))]
        alternatives.sort(key=lambda kind: kind == "None")
        void = "None" in kinds.values()
        lines = [
            "@dataclass(slots=True)",
            f"class {self.names[union.name]}:",
            f'    """union {union.name} switch ({_shown(union.discriminant)})',
            "",
            *(f"    - {', '.join(labels)}: {_shown(arm)}" for labels, arm in union.cases),
            *([f"    - default: {_shown(union.default)}"] if union.default else []),
            '    """',
            "",
            f"    {which}: {discriminant}",
            f"    {value}: Annotated[",
            f"        {' | '.join(alternatives)},",
            "        xdr.Switch(",
            "            {",
            *(f"                {label}: {kinds[id(arm)]}," for labels, arm in cases for label in labels),
            "            },",
            *([f"            default={kinds[id(union.default)]},"] if union.default else []),
            "        ),",
            f"    ]{' = None' if void else ''}",
        ]
        return _class(lines)

    def _arm(self, arm: Declaration, body: Body) -> str:
        return "None" if arm.name is None else self.annotation(arm, body)

    def _cases(self, union: Union) -> list[tuple[list[str], Declaration]]:
        """The labels as Python has them, with their arms."""
        kind, members = self.scope.discriminants(union)
        seen: dict[int, Word] = {}
        found = []
        for labels, arm in union.cases:
            texts = []
            for label in labels:
                value = self.scope.integer(label)
                if value in seen:
                    raise label.error(f"{label} is already a case at {seen[value].place}")
                seen[value] = label
                texts.append(self._label(kind, members, label, value))
            found.append((texts, arm))
        return found

    def _label(self, kind: str, members: dict[str, int], label: Word, value: int) -> str:
        if kind == "enum":
            if value not in members.values():
                raise label.error(f"{label} is no value of the enum of the discriminant")
            return self.members[label if label in members else next(name for name in members if members[name] == value)]
        least, most = RANGES[kind]
        if not least <= value <= most:
            raise label.error(f"{label} is no value of the discriminant")
        return str(bool(value)) if kind == "bool" else self.text(label)

    # Programs

    def _program(self, program: Program) -> list[str]:
        name = self.names[program.name]
        number = self.scope.unsigned(program.number)
        parts, versions = [], {}
        for version in program.versions:
            value = self.scope.unsigned(version.number)
            if value in versions:
                raise version.number.error(f"{program.name} already has a version {value}")
            versions[value] = self.names.new(version.name)
            parts.append(self._version(version, versions[value], program, number, value))
        lines = [f"class {name}(Program):", f'    """program {program.name} = {number}"""', ""]
        lines += [f"    program = {number}", "    versions = {"]
        lines += [f"        {value}: {kind}," for value, kind in versions.items()]
        return [*parts, _class([*lines, "    }"])]

    def _version(self, version: Version, name: str, program: Program, number: int, value: int) -> str:
        body = Body(Names(METHOD))
        plain = Body(self.names)
        numbers: dict[int, str] = {}
        for procedure in version.procedures:
            own = self.scope.unsigned(procedure.number)
            if own in numbers:
                raise procedure.number.error(f"{version.name} already has a procedure {own}")
            if procedure.name in body.names:
                raise procedure.name.error(f"{procedure.name} is already a procedure")
            numbers[own] = body.take(procedure.name)
        lines = [
            f"class {name}(Version):",
            f'    """version {version.name} = {value} of program {program.name}"""',
            "",
            f"    program = {number}",
            f"    version = {value}",
            "    procedures = {",
        ]
        for (own, method), procedure in zip(numbers.items(), version.procedures, strict=True):
            kinds = self._arguments(procedure, plain)
            arguments = f"({', '.join(kinds)}{',' if len(kinds) == 1 else ''})"
            lines.append(
                f'        {own}: Procedure({own}, "{method}", {arguments}, {self._kind(procedure.result, plain)}),'
            )
        lines.append("    }")
        client = self.names.new(f"{name}_client")
        calls = self.names.new(f"{name}_calls")
        text = f"version {version.name} = {value} of program {program.name}"
        classes = [
            lines,
            [f"class {client}(VersionClient):", f'    """Calls {text}."""', "", f"    version = {name}"],
            [f"class {calls}(Calls):", f'    """Calls {text}, inside a reactor."""', "", f"    version = {name}"],
        ]
        for (own, method), procedure in zip(numbers.items(), version.procedures, strict=True):
            for lines, added in zip(classes, self._methods(own, method, procedure, body), strict=True):
                lines += ["", *(f"    {line}" for line in added)]
        return "".join(map(_class, classes))

    def _methods(self, number: int, method: str, procedure: Procedure, body: Body) -> list[list[str]]:
        """The lines of the method in the class of the version, in that of the client, and in that of the calls."""
        kinds = self._arguments(procedure, body)
        names = [f"argument{index + 1 if len(kinds) > 1 else ''}" for index in range(len(kinds))]
        parameters = ", ".join(["self", *map("{}: {}".format, names, kinds), "/"] if kinds else ["self"])
        given = ", ".join([str(number), *names])
        result = self._kind(procedure.result, body)
        said = f'    """procedure {procedure.name} = {number}"""'
        call = [f"    self._call({given})"]
        if result != "None":
            call = [f"    result: {result} = self._call({given})", "    return result"]
        return [
            ["@declared", f"def {method}({parameters}) -> Made[{result}]:", said, "    raise NotImplementedError"],
            [f"def {method}({parameters}) -> {result}:", said, *call],
            [f"def {method}({parameters}) -> Reply[{result}]:", said, f"    return self._begin({given})"],
        ]

    def _arguments(self, procedure: Procedure, body: Body) -> list[str]:
        kinds = [self._kind(argument, body) for argument in procedure.arguments]
        if "None" in kinds and len(kinds) > 1:
            raise procedure.name.error("void is the only argument or none")
        return [] if kinds == ["None"] else kinds

    def _kind(self, declaration: Declaration, body: Body) -> str:
        """The type of an argument or of a result."""
        if not isinstance(declaration.type, Type):
            raise declaration.type.name.error("a type cannot be declared in a procedure")
        return "None" if declaration.type.name == "void" else self.annotation(declaration, body)


def _class(lines: list[str]) -> str:
    return "\n\n" + "\n".join(lines) + "\n\n"


def _from(module: str, names: list[str]) -> str:
    return f"from {module} import {', '.join(names)}" if names else ""


def _shown(declaration: Declaration) -> str:
    """The declaration as the file has it."""
    assert isinstance(declaration.type, Type)
    name, size = declaration.name or "", declaration.size or ""
    after = {PLAIN: name, FIXED: f"{name}[{size}]", VARIABLE: f"{name}<{size}>", POINTER: f"*{name}"}
    return f"{declaration.type.name} {after[declaration.form]}".rstrip()
