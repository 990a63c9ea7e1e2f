"""The patterns that `check` searches a conversation with take time in proportion to its length, whatever it has."""

import importlib
import pkgutil
import re
from itertools import chain

import pytest

import reactor.testing
from tests.support.serving import bounded

SIZE = 20_000
TEXTS = [
    b"a", b"l", b"e", b"1", b"0a", b" ", b"a ", b"1 ", b".", b"a.", b"\r\n", b"\n", b"\r", b"\0", b"\xc3", b"(", b"[",
    b"{", b"<", b'"', b'["a', b"=", b"$", b"%a", b"-", b"i-", b"/", b"@", b"\\", b"*", b"\x78\x9c",
]  # fmt: skip
"""What a body may have again and again."""
BEFORE = [b"", b"<", b"\n", b"i", b'["', b"HTTP/1.1\r\n"]


def patterns():
    """All patterns of bytes in the modules of `reactor.testing`, by their names."""
    found = {}
    for module in pkgutil.walk_packages(reactor.testing.__path__, "reactor.testing."):
        if not module.name.endswith("__main__"):
            space = vars(importlib.import_module(module.name))
            found.update({f"{module.name}.{name}": value for name, value in space.items() if is_pattern(value)})
            for name, value in space.items():
                if isinstance(value, tuple):
                    listed = chain.from_iterable(part if isinstance(part, tuple) else (part,) for part in value)
                    parts = enumerate(part for part in listed if is_pattern(part))
                    found.update({f"{module.name}.{name}-{number}": part for number, part in parts})
    return {name: pattern for name, pattern in found.items() if isinstance(pattern.pattern, bytes)}


def is_pattern(value):
    return isinstance(value, re.Pattern)


PATTERNS = patterns()


def test_the_patterns_are_found():
    assert {"reactor.testing.check.apart._NAME", "reactor.testing.check.nested._FORMS-0"} <= PATTERNS.keys()


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_a_search_ends_soon_whatever_comes_again_and_again(pattern):
    def search():
        for before in BEFORE:
            for text in TEXTS:
                for _ in pattern.finditer(before + text * (SIZE // len(text))):
                    pass

    bounded(search)
