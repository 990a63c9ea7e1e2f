"""`Scope`: looks up the names of a file, and refuses definitions that are wrong although they follow the grammar."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from .errors import LanguageError
from .tree import (
    FIXED,
    PLAIN,
    Const,
    Declaration,
    Definition,
    Enum,
    Program,
    Struct,
    Type,
    Typedef,
    Union,
)
from .words import Word

SIMPLE = {
    "int": "xdr.Int", "unsigned": "xdr.UInt", "unsigned int": "xdr.UInt",
    "long": "xdr.Int", "unsigned long": "xdr.UInt", "short": "xdr.Short", "unsigned short": "xdr.UShort",
    "char": "xdr.Char", "unsigned char": "xdr.UChar",
    "hyper": "xdr.Hyper", "unsigned hyper": "xdr.UHyper", "float": "xdr.Float", "double": "xdr.Double",
    "quadruple": "xdr.Quadruple", "bool": "bool", "void": "None",
}  # fmt: skip
"""The types of the language that have no length. A ``long`` has four bytes."""

PREDEFINED = {
    "bool_t": "bool", "u_char": "xdr.UChar", "u_short": "xdr.UShort", "u_int": "xdr.UInt", "u_long": "xdr.UInt",
    "u_hyper": "xdr.UHyper", "quad_t": "xdr.Hyper", "u_quad_t": "xdr.UHyper",
    "longlong_t": "xdr.Hyper", "u_longlong_t": "xdr.UHyper",
    "int8_t": "xdr.Char", "int16_t": "xdr.Short", "int32_t": "xdr.Int", "int64_t": "xdr.Hyper",
    **{f"{prefix}{bits}_t": f"xdr.{name}" for prefix in ("uint", "u_int")
       for bits, name in ((8, "UChar"), (16, "UShort"), (32, "UInt"), (64, "UHyper"))},
    "rpcprog_t": "xdr.UInt", "rpcvers_t": "xdr.UInt", "rpcproc_t": "xdr.UInt", "rpcport_t": "xdr.UInt",
}  # fmt: skip
"""Types of C's headers that are other names for types of the language, for a file that does not define them."""

PRELUDE = """
const AUTH_NONE = 0; const AUTH_SYS = 1; const AUTH_UNIX = 1; const AUTH_SHORT = 2;
const MAXNETNAMELEN = 255;
typedef opaque netobj<1024>;
typedef opaque des_block[8];
struct netbuf { unsigned int maxlen; opaque buf<>; };
"""
"""Definitions of ``rpc/*.h`` for a file that uses them (RFC 5531, section 8.2; RFC 1833, section 2.2.1)."""

TRUTH = {"TRUE": 1, "FALSE": 0}

RANGES = {"int": (-0x80000000, 0x7FFFFFFF), "unsigned": (0, 0xFFFFFFFF), "bool": (0, 1)}

Named = Enum | Struct | Union | Const | Typedef | Program


def name_of(definition: Named) -> Word:
    """The name that the definition gives."""
    name = definition.declaration.name if isinstance(definition, Typedef) else definition.name
    assert name is not None
    return name


class Scope:
    """The definitions of a file by name, including the types that are declared inside others.

    ``others`` are definitions of other files. The scope adds those that the file uses and does not define.
    """

    def __init__(
        self, definitions: Iterable[Definition], others: Iterable[Definition] = (), constants: Mapping[str, Word] = {}
    ) -> None:
        self.definitions: dict[str, Named] = {}
        self.members: dict[str, Enum] = {}
        """The enums, by the names of their members."""
        self.numbers: dict[str, Word] = {}
        """The names that ``rpcgen`` makes constants: programs, versions, procedures, and constants of C."""
        self._values: dict[int, dict[str, int]] = {}
        self._evaluating: list[str] = []
        for definition in definitions:
            for part in _flat(definition):
                self._add(part)
        self._add_used([part for definition in others for part in _flat(definition)])
        self.numbers = {**constants, **self.numbers}
        for enum in [*self.definitions.values()]:
            if isinstance(enum, Enum):
                self.values(enum)
        self._refuse_endless()

    def _add(self, definition: Named) -> None:
        name = name_of(definition)
        if name in self.definitions:
            raise name.error(f"{name} is already defined at {name_of(self.definitions[name]).place}")
        self.definitions[str(name)] = definition
        if isinstance(definition, Enum):
            self._add_members(definition)
        if isinstance(definition, Program):
            self.numbers[str(name)] = definition.number
            for version in definition.versions:
                self.numbers.setdefault(str(version.name), version.number)
                for procedure in version.procedures:
                    self.numbers.setdefault(str(procedure.name), procedure.number)

    def _add_members(self, enum: Enum) -> None:
        for member, _ in enum.members:
            if member in self.members:
                other = next(word for word, _ in self.members[member].members if word == member)
                raise member.error(f"{member} is already defined at {other.place}")
            self.members[str(member)] = enum

    def _add_used(self, others: list[Named]) -> None:
        found: dict[str, Named] = {}
        for other in others:
            found.setdefault(str(name_of(other)), other)
            if isinstance(other, Enum):
                found |= {str(member): other for member, _ in other.members if member not in found}
        waiting = [*self.definitions.values()]
        while found and waiting:
            for name in mentions(waiting.pop()):
                if name in found and name not in self.definitions and name not in self.members:
                    waiting.append(found[name])
                    self._add(found[name])

    # Constants

    def value(self, word: Word) -> int | str:
        """The value of a constant."""
        if word.kind == "NUMBER":
            return word.number()
        if word.kind == "LITERAL":
            return word.string()
        if word in self._evaluating:
            raise word.error(f"{word} is defined by itself")
        self._evaluating.append(word)
        try:
            return self._named(word)
        finally:
            self._evaluating.pop()

    def _named(self, word: Word) -> int | str:
        definition = self.definitions.get(word)
        if isinstance(definition, Const):
            return self.value(definition.value)
        if word in self.members:
            return self.values(self.members[word])[word]
        if word in self.numbers:
            return self.value(self.numbers[word])
        if word in TRUTH:
            return TRUTH[word]
        raise word.error(f"the constant {word} is not defined; -D {word}=VALUE defines it")

    def values(self, enum: Enum) -> dict[str, int]:
        """The members of the enum and their values. A member without a value has the last value plus one."""
        if id(enum) not in self._values:
            found: dict[str, int] = {}
            value = -1
            for member, word in enum.members:
                value = value + 1 if word is None else found[word] if word in found else self.integer(word)
                if not -0x80000000 <= value <= 0x7FFFFFFF:
                    raise member.error(f"{value} is outside of the range of an enum")
                found[str(member)] = value
            self._values[id(enum)] = found
        return self._values[id(enum)]

    def integer(self, word: Word) -> int:
        """The value of a constant that must be an integer."""
        value = self.value(word)
        if isinstance(value, str):
            raise word.error(f"{word} is a string")
        return value

    def unsigned(self, word: Word) -> int:
        """The value of a constant that must be a length, or the number of a program, version or procedure."""
        value = self.integer(word)
        if not 0 <= value <= 0xFFFFFFFF:
            raise word.error(f"{value} is outside of the range of an unsigned int")
        return value

    # Types

    def type(self, type: Type) -> Named | None:  # noqa: A002
        """The definition of the type, or None for one that the language has or that is predefined."""
        definition = self.definitions.get(type.name)
        if isinstance(definition, (Enum, Struct, Union, Typedef)):
            return definition
        if definition is None and (type.name in SIMPLE or type.name in PREDEFINED):
            return None
        if type.name in ("opaque", "string"):
            return None
        what = "is no type" if definition else f"is not defined; -D {type.name}=TYPE defines it"
        raise LanguageError(type.place, f"{type.name} {what}")

    def final(self, declaration: Declaration) -> Declaration | Named:
        """What the declaration is if names of typedefs are replaced: a definition, or the declaration that is left."""
        seen: set[str] = set()
        while declaration.form == PLAIN and isinstance(declaration.type, Type):
            definition = self.type(declaration.type)
            if not isinstance(definition, Typedef):
                return definition or declaration
            name = name_of(definition)
            if name in seen:
                raise name.error(f"{name} is defined by itself")
            seen.add(str(name))
            declaration = definition.declaration
        return declaration

    def discriminants(self, union: Union) -> tuple[str, dict[str, int]]:
        """The kind of the union's discriminant (int, unsigned, bool or enum), and the members of an enum."""
        found = self.final(union.discriminant)
        if isinstance(found, Enum):
            return "enum", self.values(found)
        if isinstance(found, Declaration) and found.form == PLAIN and isinstance(found.type, Type):
            text = SIMPLE.get(found.type.name) or PREDEFINED.get(found.type.name)
            kinds = {"xdr.Int": "int", "xdr.UInt": "unsigned", "bool": "bool"}
            if text in kinds:
                return kinds[text], {}
        word = union.discriminant.name or union.name
        raise word.error("the discriminant of a union is an int, an unsigned int, a bool or an enum")

    def _refuse_endless(self) -> None:
        """Refuse a type that contains itself, if not by an optional, a list or another arm."""
        types = [each for each in self.definitions.values() if isinstance(each, (Struct, Union, Typedef))]
        endless = {str(name_of(each)): each for each in types}

        def ends(declaration: Declaration) -> bool:
            if declaration.form not in (PLAIN, FIXED):
                return True
            assert isinstance(declaration.type, Type)
            self.type(declaration.type)  # which must be defined
            return declaration.type.name not in endless

        def ended(each: Named) -> bool:
            if isinstance(each, Typedef):
                return ends(each.declaration)
            if isinstance(each, Struct):
                return all(ends(field) for field in each.fields)
            assert isinstance(each, Union)
            arms = [arm for _, arm in each.cases] + ([each.default] if each.default else [])
            return any(ends(arm) for arm in arms)

        while found := [name for name, each in endless.items() if ended(each)]:
            for name in found:
                del endless[name]
        for each in endless.values():
            name = name_of(each)
            raise name.error(f"{name} contains itself, so it has no end")


def mentions(definition: Named) -> Iterator[str]:
    """The names of types and constants in the definition."""
    match definition:
        case Const():
            yield definition.value
        case Enum():
            yield from (value for _, value in definition.members if value)
        case Union():
            yield from (label for labels, _ in definition.cases for label in labels)
        case Program():
            yield definition.number
            for version in definition.versions:
                yield version.number
                yield from (procedure.number for procedure in version.procedures)
    for declaration in _declarations(definition):
        if isinstance(declaration.type, Type):
            yield declaration.type.name
        if declaration.size:
            yield declaration.size


def _declarations(definition: Named) -> list[Declaration]:
    match definition:
        case Typedef():
            return [definition.declaration]
        case Struct():
            return definition.fields
        case Union():
            arms = [arm for _, arm in definition.cases]
            return [definition.discriminant, *arms, *([definition.default] if definition.default else [])]
        case Program():
            procedures = [procedure for version in definition.versions for procedure in version.procedures]
            return [each for procedure in procedures for each in (procedure.result, *procedure.arguments)]
    return []


def _flat(definition: Definition) -> Iterator[Named]:
    """The definition, after those of the types that are declared inside of it; those get names from where they are."""
    if isinstance(definition, Typedef):
        yield from _flat_typedef(definition.declaration)
    elif isinstance(definition, Struct):
        pairs = [_lifted(field, definition.name) for field in definition.fields]
        yield from (part for _, found in pairs for part in found)
        yield Struct(definition.name, [field for field, _ in pairs])
    elif isinstance(definition, Union):
        pairs = [_lifted(arm, definition.name) for _, arm in definition.cases]
        default = _lifted(definition.default, definition.name) if definition.default else None
        yield from (part for _, found in [*pairs, *([default] if default else [])] for part in found)
        cases = [(values, arm) for (values, _), (arm, _) in zip(definition.cases, pairs, strict=True)]
        yield Union(definition.name, definition.discriminant, cases, default[0] if default else None)
    else:
        yield definition


def _flat_typedef(declaration: Declaration) -> Iterator[Named]:
    inner, name = declaration.type, declaration.name
    if name is None:
        assert isinstance(inner, Type)
        raise LanguageError(inner.place, "void has no values")
    if isinstance(inner, (Enum, Struct, Union)) and not inner.name and declaration.form == PLAIN:
        yield from _flat(replace(inner, name=name))
    elif not _says_nothing(declaration):
        declaration, found = _lifted(declaration, "")
        yield from found
        yield Typedef(declaration)


def _says_nothing(declaration: Declaration) -> bool:
    """Whether it is ``typedef struct X X``, which only C needs."""
    return (
        declaration.form == PLAIN and isinstance(declaration.type, Type) and declaration.type.name == declaration.name
    )


def _lifted(declaration: Declaration, outer: str) -> tuple[Declaration, list[Named]]:
    """The declaration with the name of its type, and the definitions of that type."""
    inner = declaration.type
    if isinstance(inner, Type):
        return declaration, []
    name = inner.name
    if not name:
        own = declaration.name or name
        name = Word(f"{outer}_{own}" if outer else f"{own}_item", "NAME", name.place)
    return replace(declaration, type=Type(str(name), name.place)), [*_flat(replace(inner, name=name))]
