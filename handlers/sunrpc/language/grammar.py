"""The grammar: RFC 4506, section 6.3, RFC 5531, section 12, and extensions of ``rpcgen`` and Stellar's compiler.

It is read by ``lark``, which the extra ``sunrpc`` installs; nothing else needs it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .errors import LanguageError, Place
from .tree import (
    FIXED,
    POINTER,
    VARIABLE,
    Const,
    Declaration,
    Definition,
    Enum,
    Procedure,
    Program,
    Struct,
    Type,
    Typedef,
    Union,
    Version,
)
from .words import KEYWORDS, PUNCTUATION, Word

if TYPE_CHECKING:
    from lark import Lark, Token

TERMINALS = sorted([*PUNCTUATION.values(), *(word.upper() for word in KEYWORDS), "NAME", "NUMBER", "LITERAL"])

GRAMMAR = """
start: definition*
definition: const | typedef | enum SEMICOLON | struct SEMICOLON | union SEMICOLON | program | namespace
namespace: NAMESPACE name LBRACE definition* RBRACE SEMICOLON?
const: CONST name EQUAL value SEMICOLON
typedef: TYPEDEF declaration SEMICOLON
name: NAME | PROGRAM | VERSION | NAMESPACE
value: NUMBER | NAME | LITERAL

enum: ENUM name members
members: LBRACE member (COMMA member)* COMMA? RBRACE
member: name [EQUAL value]
struct: STRUCT name fields
fields: LBRACE (declaration SEMICOLON)+ RBRACE
union: UNION name arms
arms: SWITCH LPAR declaration RPAR LBRACE case+ [default] RBRACE
case: label+ declaration SEMICOLON
label: CASE value COLON
default: DEFAULT COLON declaration SEMICOLON

declaration: VOID -> void
    | type name -> plain
    | type name LSQB value RSQB -> fixed
    | type name LESSTHAN [value] MORETHAN -> variable
    | type STAR name -> pointer
?type: words | name -> reference | (STRUCT | UNION | ENUM) name -> tagged
    | ENUM [name] members -> inline_enum
    | STRUCT [name] fields -> inline_struct
    | UNION [name] arms -> inline_union
words: BOOL | FLOAT | DOUBLE | QUADRUPLE | STRING | OPAQUE | integer | UNSIGNED integer?
integer: INT | HYPER | CHAR | SHORT INT? | LONG INT?

program: PROGRAM name LBRACE version+ RBRACE EQUAL value SEMICOLON
version: VERSION name LBRACE procedure* RBRACE EQUAL value SEMICOLON
procedure: unnamed name LPAR (unnamed (COMMA unnamed)*)? RPAR EQUAL value SEMICOLON
unnamed: VOID -> void
    | type -> alone
    | type STAR -> pointed
    | type LESSTHAN [value] MORETHAN -> counted

%declare """ + " ".join(TERMINALS)


def parse(words: Iterable[Word]) -> list[Definition]:
    """What the words define, in their order."""
    lark = _lark()
    parser = _parser().parse_interactive()
    last = None
    try:
        for word in words:
            last = word
            parser.feed_token(lark.Token(word.kind, word))
        found: list[Definition] = parser.feed_eof()  # type: ignore[no-untyped-call]
    except lark.UnexpectedToken as error:
        accepted: set[str] = parser.accepts()  # type: ignore[no-untyped-call]
        raise _unexpected(error.token, last, accepted) from None
    return found


def _unexpected(token: Token, last: Word | None, accepted: set[str]) -> LanguageError:
    """The error that a word, or the end, cannot stand where it does."""
    shown = {name: repr(text) for text, name in PUNCTUATION.items()}
    shown |= {"$END": "the end", "NAME": "a name", "NUMBER": "a number", "LITERAL": "a string"}
    if "NAME" in accepted:
        accepted -= {"PROGRAM", "VERSION", "NAMESPACE"}
    wanted = " or ".join(sorted(shown.get(name, name.lower()) for name in accepted))
    wanted = f"expected {wanted}" if len(accepted) <= 4 else "a definition or a declaration was expected"
    if token.type == "$END":
        return LanguageError(last.place if last else Place("", 1, 1), f"unexpected end of the file; {wanted}")
    word: Word = token.value
    return word.error(f"unexpected {word}; {wanted}")


def _lark() -> ModuleType:
    try:
        import lark
    except ImportError:
        raise ImportError("compiling a .x file needs lark: pip install 'select-reactor[sunrpc]'") from None
    return lark


@cache
def _parser() -> Lark:
    parser: Lark = _lark().Lark(GRAMMAR, parser="lalr", maybe_placeholders=True, transformer=Tree())
    return parser


def _only(children: list[Any], kind: type[Any]) -> list[Any]:
    return [child for child in children if isinstance(child, kind)]


def _named(children: list[Any]) -> Word:
    """The name of a type that is declared where it is used; it may have none."""
    name: Word = children[1] or Word("", "NAME", children[0].value.place)
    return name


class Tree:
    """Makes the nodes of `tree`: a method for each rule gets its children, among which are all words of the rule."""

    def start(self, children: list[Any]) -> list[Definition]:
        return [definition for child in children for definition in child]

    def definition(self, children: list[Any]) -> list[Definition]:
        return children[0] if isinstance(children[0], list) else [children[0]]

    def namespace(self, children: list[Any]) -> list[Definition]:
        return [definition for child in _only(children, list) for definition in child]

    def name(self, children: list[Any]) -> Word:
        word: Word = children[0].value
        return word

    value = name

    def const(self, children: list[Any]) -> Const:
        return Const(children[1], children[3])

    def typedef(self, children: list[Any]) -> Typedef:
        return Typedef(children[1])

    def enum(self, children: list[Any]) -> Enum:
        return Enum(children[1], children[2])

    def members(self, children: list[Any]) -> list[Any]:
        return _only(children, tuple)

    def member(self, children: list[Any]) -> tuple[Word, Word | None]:
        return children[0], children[2]

    def struct(self, children: list[Any]) -> Struct:
        return Struct(children[1], children[2])

    def fields(self, children: list[Any]) -> list[Any]:
        return _only(children, Declaration)

    def union(self, children: list[Any]) -> Union:
        return Union(children[1], *children[2])

    def arms(self, children: list[Any]) -> tuple[Any, ...]:
        default = _only(children[6:], Declaration)
        return children[2], _only(children, tuple), default[0] if default else None

    def case(self, children: list[Any]) -> tuple[list[Word], Declaration]:
        return _only(children, Word), children[-2]

    def label(self, children: list[Any]) -> Word:
        word: Word = children[1]
        return word

    def default(self, children: list[Any]) -> Declaration:
        declaration: Declaration = children[2]
        return declaration

    def void(self, children: list[Any]) -> Declaration:
        return Declaration(Type("void", children[0].value.place), None)

    def plain(self, children: list[Any]) -> Declaration:
        return Declaration(children[0], children[1])

    def fixed(self, children: list[Any]) -> Declaration:
        return Declaration(children[0], children[1], FIXED, children[3])

    def variable(self, children: list[Any]) -> Declaration:
        return Declaration(children[0], children[1], VARIABLE, children[3])

    def pointer(self, children: list[Any]) -> Declaration:
        return Declaration(children[0], children[2], POINTER)

    def alone(self, children: list[Any]) -> Declaration:
        return Declaration(children[0], None)

    def pointed(self, children: list[Any]) -> Declaration:
        return Declaration(children[0], None, POINTER)

    def counted(self, children: list[Any]) -> Declaration:
        return Declaration(children[0], None, VARIABLE, children[2])

    def integer(self, children: list[Any]) -> Any:
        return children[0]

    def words(self, children: list[Any]) -> Type:
        return Type(" ".join(children), children[0].value.place)

    def reference(self, children: list[Any]) -> Type:
        return Type(str(children[0]), children[0].place)

    def tagged(self, children: list[Any]) -> Type:
        return Type(str(children[1]), children[1].place)

    def inline_enum(self, children: list[Any]) -> Enum:
        return Enum(_named(children), children[2])

    def inline_struct(self, children: list[Any]) -> Struct:
        return Struct(_named(children), children[2])

    def inline_union(self, children: list[Any]) -> Union:
        return Union(_named(children), *children[2])

    def procedure(self, children: list[Any]) -> Procedure:
        result, *arguments = _only(children, Declaration)
        return Procedure(result, children[1], arguments, children[-2])

    def version(self, children: list[Any]) -> Version:
        return Version(children[1], _only(children, Procedure), children[-2])

    def program(self, children: list[Any]) -> Program:
        return Program(children[1], _only(children, Version), children[-2])
