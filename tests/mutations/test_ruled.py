"""The mutations that are made by rule."""

from collections import Counter

import pytest

from tests.mutations import ruled


def made(*lines, before=""):
    """The changed line of each mutation of a function with these lines, by its key without the path and the name."""
    source = before + "def f(a, b):\n" + "".join(f"    {line}\n" for line in lines)
    found = {}
    for mutation in ruled.candidates("m.py", source):
        compile(mutation.source, "m.py", "exec")
        changed = [new for old, new in zip(source.split("\n"), mutation.source.split("\n"), strict=False) if old != new]
        found[mutation.key.partition(" f: ")[2]] = changed[0].strip()
    return found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x = a < b", {"becomes <=: x = a [<] b": "x = a <= b"}),
        ("x = (a) is not (b)", {"becomes is: x = (a) [is not] (b)": "x = (a) is (b)"}),
        ("x = a and b or ö", {
            "becomes and: x = a and b [or] ö": "x = a and b and ö",
            "becomes or: x = a [and] b or ö": "x = a or b or ö",
        }),
        ("x = a in 'ö' and b", {
            "becomes not in: x = a [in] 'ö' and b": "x = a not in 'ö' and b",
            "becomes or: x = a in 'ö' [and] b": "x = a in 'ö' or b",
        }),
        ("a.close()", {"is dropped: [a.close()]": "pass"}),
        ("x = 7", {"is one more: x = [7]": "x = (7 + 1)"}),
        ("x = f'{a:7}'", {}),
        ("x: Literal[7] = a", {}),
        ("return True", {"returns the other: return [True]": "return False"}),
        ("return not a", {"returns the other: return [not a]": "return not (not a)"}),
        ("return a.b", {"returns None: return [a.b]": "return None"}),
        ("return None", {}),
        ("return", {}),
    ],
)  # fmt: skip
def test_each_rule_makes_its_mutations_and_no_others(line, expected):
    assert made(line) == expected


def test_an_except_clause_raises_again_and_passes():
    clause = ["try:", "    a = b", "except OSError:", "    a = None"]
    assert made(*clause) == {
        "is raised again: [a = None]": "raise",
        "is passed over: [a = None]": "pass",
    }
    assert list(made(*clause[:3], "    raise")) == ["is passed over: [raise]"]
    assert list(made(*clause[:3], "    pass")) == ["is raised again: [pass]"]


def test_a_mutation_is_known_by_its_text():
    source = "class C:\n    def f(self):\n        x = 1\n        y(0)\n        x = 1\n"
    moved = source.replace("class C:", "# a comment\n\nclass C:").replace("y(0)", "y(0)\n        z()")
    keys, keys_of_moved = ([one.key for one in ruled.candidates("m.py", text)] for text in (source, moved))
    assert keys[:2] == ["m.py C.f: is one more: x = [1]", "m.py C.f: is dropped: [y(0)]"]
    assert keys[-1] == "m.py C.f: is one more: x = [1] #2"
    assert [key for key in keys_of_moved if "z()" not in key] == keys


@pytest.mark.slow
def test_the_choice_is_spread_over_the_modules_and_the_rules():
    chosen = ruled.choice(200)
    assert len({mutation.key for mutation in chosen}) == 200
    modules = Counter(mutation.path for mutation in chosen)
    assert set(modules) <= set(ruled.hot_modules())
    assert len(modules) > 60
    assert max(modules.values()) <= 5
    assert len({mutation.key.split(": ")[1] for mutation in chosen}) > 12
    for mutation in chosen:
        compile(mutation.source, mutation.path, "exec", dont_inherit=True)


@pytest.mark.slow
def test_what_is_argued_to_be_equivalent_is_in_the_source():
    keys = {mutation.key for path in ruled.hot_modules() for mutation in ruled.candidates(path)}
    found = ruled.equivalent()
    assert found.keys() - keys == set()
    assert all(len(reason) > 20 for reason in found.values())
