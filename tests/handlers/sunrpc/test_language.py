"""The .x language: what each construct becomes, what is read beyond the RFCs, and where an error is said to be."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from handlers.sunrpc import xdr
from handlers.sunrpc.language import LanguageError, load, translate
from tests import ROOT

EVERY = Path(__file__).with_name("every.x")


@pytest.fixture
def write(tmp_path):
    """``write(text, name)`` writes a file and returns its path."""

    def written(text, name="file.x"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return written


# Constants


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("10", 10), ("-10", -10), ("- 7", -7), ("0", 0), ("010", 8), ("-017", -15), ("0x1F", 31), ("-0xff", -255),
        ("0XABCul", 0xABC), ("4294967295U", 2**32 - 1), ('"text"', "text"), (r'"a\"\n\q"', 'a"\nq'),
        ("TRUE", 1), ("FALSE", 0),
        ("OTHER", 3), ("MEMBER", 5), ("SECOND", 6), ("PROGRAM", 99), ("VERSION", 7), ("PROCEDURE", 8),
    ],
)  # fmt: skip
def test_constants(write, written, value):
    program = "program PROGRAM { version VERSION { void PROCEDURE(void) = 8; } = 7; } = 99;"
    module = load(write(f"const T = {written}; const OTHER = 3; enum e {{ MEMBER = 5, SECOND }}; {program}"))
    assert value == module.T


def test_an_enum_without_values_counts_and_may_name_what_comes_later(write):
    module = load(write("enum e { A, B, C = LATER, D, E = A, F }; const LATER = 7;"))
    assert {member: int(getattr(module.e, member)) for member in "ABCDEF"} == {
        "A": 0,
        "B": 1,
        "C": 7,
        "D": 8,
        "E": 0,
        "F": 1,
    }


# Types and the preprocessor


@pytest.mark.parametrize(
    ("declared", "value", "encoded"),
    [
        ("unsigned t", 2**32 - 1, "ffffffff"),
        ("unsigned hyper t", 2**64 - 1, "ffffffffffffffff"),
        ("unsigned short t", 65535, "0000ffff"),
        ("unsigned char t", 255, "000000ff"),
        ("unsigned long t", 1, "00000001"),
        ("long int t", -1, "ffffffff"),
        ("short int t", -1, "ffffffff"),
        ("quadruple t", 1, "3fff0000000000000000000000000000"),
        ("u_int64_t t", 1, "0000000000000001"),
        ("bool_t t", True, "00000001"),
        ("netobj t", b"ab", "0000000261620000"),
        ("des_block t", bytes(8), "00" * 8),
        ("opaque t[2]", b"ab", "61620000"),
        ("string t<>", "a", "0000000161000000"),
        ("int *t", None, "00000000"),
        ("int t<2>", [1], "0000000100000001"),
        ("opaque t<-0>", b"", "00000000"),
        ("enum { A, B } t", 1, "00000001"),
    ],
)
def test_what_a_typedef_declares(write, declared, value, encoded):
    assert xdr.pack(load(write(f"typedef {declared};")).t, value).hex() == encoded


@pytest.mark.parametrize(
    "text",
    [
        "#define N 3\ntypedef opaque t[N];",
        "#define M 3\n#define N M\ntypedef opaque t[N];",
        "#define T opaque\ntypedef T t[3];",
        "#define N \\\n 3\ntypedef opaque t[N];",
        "# define N 3 // three\ntypedef opaque t[N];",
        "#define N 3 /* three,\n that is */\ntypedef opaque t[N];",
        "#ifdef N\n#else\ntypedef opaque t[3];\n#endif",
        "#ifndef N\ntypedef opaque t[3];\n#endif",
        "#if defined(N) || !defined M && 2 * (3 + 4) == 14 && -7 / 2 == -3\ntypedef opaque t[3];\n#endif",
        "#if 5 % 3 - 1 >= 1 && (3 -1 | 4) == 6 && ~0 < 0 && (6 & 3 ^ 1) == 3\ntypedef opaque t[3];\n#endif",
        "#if 0\nnonsense ' \"\n#elif 1\ntypedef opaque t[3];\n#elif 1\nnonsense\n#else\nnonsense\n#endif",
        "#if 0\n#if 1\nnonsense\n#else\nnonsense\n#endif\n#error no\n#endif\ntypedef opaque t[3];",
        "#if 0\n#include \"none\"\n#unknown\n#endif\ntypedef opaque t[3];",
        "#define N 3\n#undef N\nconst N = 3; typedef opaque t[N];",
        "#define N N\nconst N = 3; typedef opaque t[N];",
        "#if RPC_HDR && !UNKNOWN\ntypedef opaque t[3];\n#endif",
        "#pragma once\n#ident \"x\"\n#\ntypedef opaque t[3];",
        "%nonsense {\n%#define N \\\n nonsense\ntypedef opaque t[3];",
        "%#define M 2\n%#define N M+1 /* three */\ntypedef opaque t[N];",
        "%#define N sizeof(int)\nconst N = 3; typedef opaque t[N];",
        "/* a comment\n% in which nothing counts\n#error no\n*/ typedef opaque t[3]; // the end /* ",
        "typedef opaque t[3]; /* ** / */",
        "const N = 3;\ntypedef opaque t[N];",
        "typedef opaque t[N]; const N = M; enum e { M = 3 };",
        "typedef s t; typedef opaque s[3];",
        "typedef opaque int32_t[3]; typedef int32_t t;",
        "namespace a { namespace b { typedef opaque t[3]; } };",
        "namespace a { typedef opaque t[3]; }",
    ],
)  # fmt: skip
def test_what_is_read_as_three_bytes_of_opaque_data(write, text):
    codec = xdr.codec(load(write(text)).t)
    assert codec.unpack(b"abc\0") == b"abc"
    with pytest.raises(xdr.Error):
        codec.pack(b"abcd")


def test_files_are_included_from_beside_the_file(write, tmp_path):
    (tmp_path / "inner").mkdir()
    write("const N = 2;", "inner/other.x")
    write('#include "other.x"\nconst M = N;', "inner/file.x")
    path = write("#include <inner/file.x>\nstruct t { opaque data[M]; };")
    assert load(path).t(b"ab").data == b"ab"


def test_the_file_of_a_header_is_asked_only_for_what_is_missing(write):
    write("enum e { A = 1, B }; struct s { int a; e which; u more<N>; }; struct unused { s a; }; const N = 5;", "a.x")
    write('%#include "a.h"\ntypedef s *u; program P { version V { void X(void) = 1; } = 1; } = 1;', "b.x")
    module = load(
        write('%#include "some/where/a.h"\n%#include <b.h>\n%#include <stdio.h>\nstruct t { u a; int b[B]; };')
    )
    assert xdr.pack(module.t, module.t(module.s(1, module.e.A, []), [1, 2])).hex(" ", 4) == (
        "00000001 00000001 00000001 00000000 00000001 00000002"
    )
    assert not hasattr(module, "unused")
    assert not hasattr(module, "P")


def test_defines_of_the_command_line(write):
    path = write("#ifdef YES\ntypedef opaque t[N];\n#endif")
    assert xdr.pack(load(path, {"YES": "1", "N": "0x4"}).t, b"abcd") == b"abcd"
    with pytest.raises(LanguageError, match=r":2:18: the constant N is not defined; -D N=VALUE defines it"):
        load(path, {"YES": ""})


def test_a_type_of_the_command_line(write):
    kind = load(write("struct t { uint64 a; Bool b; };"), {"uint64": "unsigned hyper", "Bool": "bool"}).t
    assert xdr.pack(kind, kind(1, True)).hex(" ", 4) == "00000000 00000001 00000001"


def test_types_that_are_declared_where_they_are_used(write):
    """As in Stellar's files."""
    module = load(
        write("""
        struct Outer {
            unsigned int version;
            struct { int a; enum { NO, YES } b; } inner[2];
            union switch (int v) { case 0: void; case 1: struct { hyper h; } deep; } ext;
            enum Named { X = 5 } named;
        };
        typedef union switch (bool b) { case TRUE: opaque data<>; case FALSE: void; } Maybe;
        typedef struct { int a; } Plain;
        typedef struct tag { int a; } Other;
        typedef struct { int a; } Many<2>;
    """)
    )
    inner = module.Outer_inner
    value = module.Outer(
        1,
        [inner(2, module.Outer_inner_b.YES), inner(3, module.Outer_inner_b.NO)],
        module.Outer_ext(1, module.Outer_ext_deep(7)),
        module.Named.X,
    )
    encoded = xdr.pack(module.Outer, value)
    assert encoded.hex(" ", 4) == "00000001 00000002 00000001 00000003 00000000 00000001 00000000 00000007 00000005"
    assert xdr.unpack(module.Outer, encoded) == value
    assert xdr.pack(module.Maybe, module.Maybe(True, b"a")).hex() == "000000010000000161000000"
    assert xdr.pack(module.Maybe, module.Maybe(False)).hex() == "00000000"
    assert xdr.pack(module.Other, module.tag(1)) == xdr.pack(module.Plain, module.Plain(1))
    assert xdr.pack(module.Many, [module.Many_item(1)]).hex() == "0000000100000001"


def test_words_of_programs_are_names_of_fields_too(write):
    module = load(write("struct version { int program; int namespace; }; struct t { version version; };"))
    assert module.t(module.version_(1, 2)).version.program == 1


def test_a_pointer_to_what_may_be_missing_is_a_list_of_at_most_one(write):
    module = load(write("typedef int *p; typedef p q; typedef q *t;"))
    for value, encoded in (([], "00000000"), ([None], "0000000100000000"), ([5], "000000010000000100000005")):
        assert xdr.pack(module.t, value).hex() == encoded
        assert xdr.unpack(module.t, bytes.fromhex(encoded)) == value


def test_struct_x_names_any_type_x(write):
    module = load(write("typedef struct s s; struct t { struct s *a; enum e b; union u c; }; struct s { int a; };"
                        "enum e { A }; union u switch (int a) { case 1: void; };"))  # fmt: skip
    assert xdr.pack(module.t, module.t(None, module.e.A, module.u(1))).hex() == "000000000000000000000001"


def test_names_that_python_needs_get_an_underscore(write):
    text = """
        enum class { None, name, value, mro, __len, lambda };
        struct list { int from; list *self; struct str *bytes; string str<>; opaque xdr[4]; __x __y; };
        struct str { class class; bool bool_; dict dict; };
        typedef hyper __x; typedef int dict;
        union Annotated switch (class value) { case name: str str; case mro: int a<>; default: void; };
        program Program {
            version Version { str str(list, class) = 1; dict dict(str) = 2; void list(void) = 3; } = 1;
        } = 1;
        program P { version Version { void x(void) = 1; } = 1; } = 2;
    """
    module = load(write(text))
    string = module.str_(module.class_.name_, True, 7)
    value = module.list_(1, module.list_(2, None, None, "", bytes(4), 3), string, "a", b"abcd", 5)
    assert xdr.unpack(module.list_, xdr.pack(module.list_, value)) == value
    union = module.Annotated_(module.class_.mro_, [1])
    assert union.arm == [1]
    assert xdr.unpack(module.Annotated_, xdr.pack(module.Annotated_, union)) == union
    assert module.Program_.versions[1] is module.Version_
    assert module.Version_.procedures[1].arguments == (module.list_, module.class_)
    assert module.P.versions[1].program == 2


def test_a_program_has_its_numbers_and_types(write):
    module = load(EVERY)
    assert (module.EVERY.program, module.EVERY.versions) == (0x20000099, {1: module.FIRST, 2: module.SECOND})
    second = module.SECOND
    assert (second.program, second.version) == (0x20000099, 2)
    assert second.procedures[17] == (17, "BOTH", (xdr.Int, module.forms), module.by_int)
    assert second.procedures[3] == (3, "SAY", (str,), str)
    assert second.procedures[0] == (0, "NOTHING", (), None)
    assert sorted(second.procedures) == [0, 3, 4, 17]
    with pytest.raises(NotImplementedError):
        second().SAY("a")


def test_the_same_contents_are_the_same_module(write):
    first = load(write("struct t { int a; };"))
    assert load(write("struct t { int a; }; // the same")) is first
    assert load(write("struct t { int a; int b; };")) is not first


# Errors

ERRORS = [
    ("struct t {\n    int a\n};", "3:1: unexpected }; expected ';' or '<' or '['", ),
    ("struct t { };", "1:12: unexpected }; a definition or a declaration was expected"),
    ("struct t { int a; }", "1:19: unexpected end of the file; expected ';'"),
    ("nonsense", "1:1: unexpected nonsense; "),
    ("const A = ;", "1:11: unexpected ;; "),
    ("const A = 'a';", "1:11: unexpected character \"'\""),
    ("const A = 08;", "1:11: 08 is no number"),
    ("const A = 12abc;", "1:11: 12abc is no number"),
    ("const A = B;", "1:11: the constant B is not defined; -D B=VALUE defines it"),
    ("const A = B; const B = A;", "is defined by itself"),
    ("const A = t; struct t { int a; };", "1:11: the constant t is not defined"),
    ("const A = 1;\nconst A = 2;", "2:7: A is already defined at {file}:1:7"),
    ("enum e { A, B, A };", "1:16: A is already defined at {file}:1:10"),
    ("enum e { A };\nenum f { B, A };", "2:13: A is already defined at {file}:1:10"),
    ("enum e { A = 0x80000000 };", "1:10: 2147483648 is outside of the range of an enum"),
    ("enum e { A = 2147483647, B };", "1:26: 2147483648 is outside of the range of an enum"),
    ("enum e { A = B, B = A };", "is defined by itself"),
    ('enum e { A = "a" };', '1:14: "a" is a string'),
    ("typedef unknown t;", "1:9: unknown is not defined; -D unknown=TYPE defines it"),
    ("struct t { unknown *a; };", "1:12: unknown is not defined"),
    ("const A = 1; typedef A t;", "1:22: A is no type"),
    ("typedef a b; typedef b a;", "contains itself"),
    ("struct t { int a; t b; };", "1:8: t contains itself, so it has no end"),
    ("struct t { u b[2]; }; typedef t u;", "t contains itself"),
    ("union t switch (int a) { case 1: t b; };", "t contains itself"),
    ("typedef t *t;", "t is defined by itself"),
    ("typedef t t<>;", "t is defined by itself"),
    ("typedef opaque t;", "1:9: expected opaque name[length], opaque name<maximum> or opaque name<>"),
    ("typedef string t[3];", "1:9: expected string name<maximum> or string name<>"),
    ("typedef string *t;", "1:9: expected string name"),
    ("typedef opaque t[-1];", "1:18: -1 is outside of the range of an unsigned int"),
    ("typedef int t<4294967296>;", "1:15: 4294967296 is outside of the range"),
    ('typedef int t<"a">;', '1:15: "a" is a string'),
    ("typedef void;", "1:9: void has no values"),
    ("typedef void t;", "unexpected t"),
    ("struct t { void; };", "1:12: void is no field"),
    ("struct t { int a; int a; };", "1:23: a is already a field"),
    ("union t switch (hyper a) { case 1: void; };", "1:23: the discriminant of a union is an int"),
    ("union t switch (s a) { case 1: void; }; typedef int *s;", "1:19: the discriminant of a union is an int"),
    ("union t switch (void) { case 1: void; };", "1:17: void is no field"),
    ("union t switch (int a) { case 1: void; case 2: case 1: void; };", "1:53: 1 is already a case at {file}:1:31"),
    ("union t switch (bool a) { case 2: void; };", "1:32: 2 is no value of the discriminant"),
    ("union t switch (unsigned a) { case -1: void; };", "1:36: -1 is no value of the discriminant"),
    ("enum e { A }; enum f { B }; union t switch (e a) { case C: void; };", "1:57: the constant C is not defined"),
    ("enum e { A }; union t switch (e a) { case 3: void; };", "1:43: 3 is no value of the enum of the discriminant"),
    ("union t switch (int a) { case 1: int b[2]; default: int c[X]; };", "1:59: the constant X is not defined"),
    ("program P { version V { void A(void) = 1; void B(void) = 1; } = 1; } = 1;", "1:58: V already has a procedure 1"),
    ("program P { version V { void A(void) = 1; void A(void) = 2; } = 1; } = 1;", "1:48: A is already a procedure"),
    ("program P { version V { } = 1; version W { } = 1; } = 1;", "1:48: P already has a version 1"),
    ("program P { version V { void A(int, void) = 1; } = 1; } = 1;", "1:30: void is the only argument"),
    ("program P { version V { void A(enum { X }) = 1; } = 1; } = 1;", "a type cannot be declared in a procedure"),
    ("program P { version V { void A(opaque) = 1; } = 1; } = 1;", "1:32: expected opaque name[length]"),
    ("program P { version V { void A(void) = -1; } = 1; } = 1;", "1:40: -1 is outside of the range"),
    ("program P { version V { } = 1; } = 0x100000000;", "1:36: 4294967296 is outside of the range"),
    ("#define N 3 4\ntypedef opaque t[N];", "2:18: unexpected 4; expected ']'"),
    ("#define F(x) x", "1:9: a macro with parameters is not supported"),
    ("#define\n", "1:8: a name is missing"),
    ("#ifdef\n#endif", "1:7: a name is missing"),
    ("#if\n#endif", "1:4: the expression has no end"),
    ("#if (1\n#endif", "1:4: a parenthesis is not closed"),
    ("#if 1 1\n#endif", "1:7: unexpected 1 in an expression"),
    ("#if 1 / 0\n#endif", "1:4: division by zero in an expression"),
    ("#if {\n#endif", "1:5: unexpected { in an expression"),
    ("#if defined\n#endif", "1:5: a name is missing after defined"),
    ("#if defined(X\n#endif", "1:5: defined( has no end"),
    ("const A = 1;\n  #if 1\n", "2:6: the condition has no #endif"),
    ("#endif", "1:7: #endif without #if"),
    ("#else", "1:6: #else without #if"),
    ("#if 1\n#else\n#else\n#endif", "3:6: the condition already has an #else"),
    ("#error this is wrong", "1:1: #error this is wrong"),
    ("#unknown", "1:1: unknown directive #unknown"),
    ("#include", "1:9: the name of the file is missing"),
    ('#include "none.x"', "1:9: cannot read {folder}/none.x: No such file or directory"),
    ('#include "file.x"', "more than 32 files include each other"),
    ("  /* no end\n", "1:3: the comment has no end"),
    ("/**/ ?", "1:6: unexpected character '?'"),
    ("\f\x0b/* \u2028 */ ?", "1:11: unexpected character '?'"),
    ("const A\xe9 = 1;", "1:8: unexpected character"),
    ("const A = " + "1" * 5000 + ";", "1:11: the number is too large"),
    ("#if " + "(" * 5000 + "1\n#endif", "1:1: definitions, macros or conditions are nested too deeply"),
    ("#if 0\n%#define N 3\n#endif\nconst A = N;", "4:11: the constant N is not defined"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), ERRORS)
def test_an_error_says_where_and_what(write, text, message):
    path = write(text)
    with pytest.raises(LanguageError) as found:
        translate(path)
    said = str(found.value)
    assert said.startswith(f"{path}:")
    message = message.replace("{file}", str(path)).replace("{folder}", str(path.parent))
    assert message in said
    assert not message[0].isdigit() or said.startswith(f"{path}:{message}")


def test_an_error_in_an_included_file_is_said_to_be_there(write):
    inner = write("\n  struct t { int };", "inner.x")
    with pytest.raises(LanguageError) as found:
        translate(write('#include "inner.x"'))
    assert str(found.value).startswith(f"{inner}:2:18: unexpected }}")
    assert found.value.place == (str(inner), 2, 18)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(LanguageError, match=r"cannot read .*none\.x"):
        translate(tmp_path / "none.x")
    (tmp_path / "binary.x").write_bytes(b"const A = \xff;")
    with pytest.raises(LanguageError, match=":1:11: unexpected character"):
        translate(tmp_path / "binary.x")


WORDS = (
    "struct union enum typedef const program version switch case default void opaque string int unsigned a b c 1 -2 0x3"
)
PIECES = st.sampled_from(
    [*WORDS.split(), *"{}()[]<>*,;:=", "\n", "#if 1\n", "#endif\n", "#define a b\n", "/*", "*/", '"']
)


@given(st.lists(PIECES, max_size=30).map(" ".join))
@example("typedef struct { a b; } a;")
@example("enum a { a };")
@example("const a = 1; typedef int b[a]; struct c { b b; };")
def test_any_text_is_compiled_or_refused_with_a_place(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.x"
    path.write_text(text)
    try:
        source = translate(path)
    except LanguageError as error:
        source = ""
        place = str(error.place)
        if not str(error).startswith(f"{place}: "):
            raise
    compile(source, "any.py", "exec")


# The command


def command(*arguments, program="-m handlers.sunrpc"):
    return subprocess.run(
        [sys.executable, *program.split(), *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


@pytest.mark.slow
def test_the_command_writes_the_module(write, tmp_path):
    path = write("typedef opaque t[N];\n#ifdef X\ntypedef int u;\n#endif\n")
    done = command("compile", path, "-D", "N=4", "-DX")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == translate(path, {"N": "4", "X": "1"})
    output = tmp_path / "out.py"
    done = command("compile", path, "-D", "N=4", "-DX", "-o", output)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert output.read_text() == translate(path, {"N": "4", "X": "1"})


@pytest.mark.slow
def test_beside_other_handlers_the_module_imports_from_the_reactor(write, tmp_path):
    write("raise ImportError('these are the handlers of another project')", "handlers.py")
    path = write("struct t { int a; };")
    script = "import sys; sys.path[:0] = sys.argv[1:3]; from reactor.handlers.sunrpc.language import load; "
    script += "print(load(sys.argv[3]).t(1).a)"
    for arguments in (
        ["-c", script, tmp_path, ROOT, path],
        ["-m", "reactor.handlers.sunrpc", "compile", path],
    ):
        done = subprocess.run(
            [sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert done.stderr == ""
    assert done.stdout == translate(path, package="reactor.handlers.sunrpc")
    assert "\nfrom reactor.handlers.sunrpc import xdr\n" in done.stdout


def test_the_name_of_the_file_is_no_code(write):
    source = translate(write("const A = 1;", 'é"""\\.x'))
    assert source.startswith('"""Written from _____.x by ')
    assert source.isascii()
    compile(source, "any.py", "exec")


def test_the_command_says_what_is_wrong(write):
    path = write("typedef opaque t[N];")
    done = command("compile", path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{path}:1:18: the constant N is not defined; -D N=VALUE defines it\n"
    assert command("compile").returncode == 2


def test_what_is_written_needs_no_parser_and_the_compiler_says_how_to_get_it(tmp_path):
    output = tmp_path / "every.py"
    output.write_text(translate(EVERY))
    script = "import sys; sys.path[:0] = sys.argv[1:3]; import every; print('lark' in sys.modules); "
    script += "print('reactor' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, ROOT, tmp_path], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("False\nFalse\n", "")
    script = "import sys; sys.path.insert(0, sys.argv[1]); sys.modules['lark'] = None\n"
    script += "from handlers.sunrpc.command import run_command; sys.exit(run_command(['compile', sys.argv[2]]))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, ROOT, EVERY], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "compiling a .x file needs lark: pip install 'select-reactor[sunrpc]'\n"


@pytest.mark.slow
def test_what_is_written_passes_the_strict_type_checker(tmp_path, write):
    clashes = "enum a { A }; struct s { a a; s *s; }; typedef int list<>; struct t { list list; int b<>; s s; };"
    clashes += "program P { version V { s s(a) = 1; a a(s, t) = 2; } = 1; } = 1;"
    for name, path in (("every", EVERY), ("clashes", write(clashes))):
        (tmp_path / f"{name}.py").write_text(translate(path))
    (tmp_path / "use.py").write_text(
        "from every import by_enum, color, node\n"
        "from handlers.sunrpc import xdr\n"
        "item: int = xdr.unpack(node, xdr.pack(node, node(1, None))).item\n"
        "by_enum(color.RED, 1)\n"
        "by_enum(color.RED, [])  # wrong\n"
        "node('text', None)  # wrong\n"
    )
    (tmp_path / "calculator.py").write_text(translate(EVERY.with_name("calculator.x")))
    (tmp_path / "serve.py").write_text(
        "from typing import Any\n"
        "from calculator import CALCULATOR_1, CALCULATOR_1_calls, CALCULATOR_1_client, text\n"
        "from handlers import Connected, Delay, StreamHandler\n"
        "from handlers.sunrpc.calling import StreamCaller\n"
        "from handlers.sunrpc.program import Made\n"
        "class Calculator(CALCULATOR_1):\n"
        "    def ADD(self, first: int, second: int, /) -> int:\n"
        "        return first + second\n"
        "    async def LATER(self, milliseconds: int, /) -> int:\n"
        "        await Delay(milliseconds / 1000)\n"
        "        return milliseconds\n"
        "    def REPEAT(self, given: text, /) -> Made[text]:\n"
        "        return Delay(1), lambda _: given\n"
        "    def COUNT(self) -> str:  # wrong\n"
        "        return ''\n"
        "    async def UID(self) -> text:  # wrong\n"
        "        return text('', 1)\n"
        "class Front(StreamHandler):\n"
        "    async def handle(self) -> None:\n"
        "        calls = CALCULATOR_1_calls(await Connected(('127.0.0.1', 9), StreamCaller()))\n"
        "        number: int = await calls.ADD(2, 3)\n"
        "        calls.ADD('two', number)  # wrong\n"
        "        wrong: str = await calls.ADD(2, 3)  # wrong\n"
        "def use(sock: Any) -> text:\n"
        "    with CALCULATOR_1_client.over_stream(sock) as client:\n"
        "        number: int = client.ADD(2, 3)\n"
        "        client.ADD(number)  # wrong\n"
        "        return client.REPEAT(text('a', 3))\n"
    )
    files = [tmp_path / f"{name}.py" for name in ("every", "clashes", "use", "calculator", "serve")]
    done = command("--strict", "--config-file=", f"--cache-dir={tmp_path}/cache", *files, program="-m mypy")
    wrong = [line.partition(": ")[0].rpartition("/")[2] for line in done.stdout.splitlines() if ": error:" in line]
    expected = ["use.py:5", "use.py:6", *(f"serve.py:{line}" for line in (14, 16, 22, 23, 27))]
    assert sorted(wrong) == sorted(expected), done.stdout


LINKED = """
union more switch (bool more) { case TRUE: item *item; case FALSE: void; };
struct item { double value; more rest; };
"""


def test_threads_may_use_a_type_for_the_first_time_at_once(write):
    number = 20
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for turn in range(20):
            module = load(write(f"{LINKED} const TURN = {turn};"))
            value = module.more(True, module.item(1.0, module.more(True, None)))
            start = threading.Barrier(number)

            def use(_, start=start, kind=module.more, value=value):
                start.wait(30)
                return xdr.unpack(kind, xdr.pack(kind, value)) == value

            with ThreadPoolExecutor(number) as threads:
                assert all(threads.map(use, range(number)))
    finally:
        sys.setswitchinterval(interval)


def test_a_procedure_takes_no_name_that_its_handler_has(write):
    names = ["send", "run", "key", "called", "carry", "handle", "program", "interrupted", "ADD"]
    procedures = " ".join(f"void {name}(void) = {number};" for number, name in enumerate(names))
    version = load(write(f"program P {{ version V {{ {procedures} }} = 1; }} = 7;")).V
    assert [procedure.name for procedure in version.procedures.values()] == [f"{name}_" for name in names[:-1]] + [
        "ADD"
    ]
