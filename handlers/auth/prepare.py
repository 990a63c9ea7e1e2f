"""`saslprep`: names and passwords in one form, however a keyboard or a system has composed them (RFC 4013)."""

from __future__ import annotations

import stringprep as tables
from unicodedata import ucd_3_2_0 as unicode

_PROHIBITED = (
    tables.in_table_c12, tables.in_table_c21_c22, tables.in_table_c3, tables.in_table_c4, tables.in_table_c5,
    tables.in_table_c6, tables.in_table_c7, tables.in_table_c8, tables.in_table_c9, tables.in_table_a1,
)  # fmt: skip
"""Section 2.3, and the code points that Unicode 3.2 has not assigned (section 2.5): a stored string has none."""


def saslprep(text: str) -> str:
    """``text`` as RFC 4013 prepares a stored string. Raises `ValueError` if it is empty or has prohibited characters.

    >>> saslprep("I\\u00adX"), saslprep("\\u2168"), saslprep("a\\u00a0b")
    ('IX', 'IX', 'a b')
    """
    if text.isascii() and text.isprintable() and text:
        return text
    mapped = "".join(" " if tables.in_table_c12(char) else char for char in text if not tables.in_table_b1(char))
    prepared = unicode.normalize("NFKC", mapped)
    if not prepared:
        raise ValueError("the text is empty")
    for char in prepared:
        if any(is_in(char) for is_in in _PROHIBITED):
            raise ValueError(f"the text has the prohibited character U+{ord(char):04X}")
    if any(map(tables.in_table_d1, prepared)):  # right to left: section 2.4, and RFC 3454, section 6
        ends = tables.in_table_d1(prepared[0]) and tables.in_table_d1(prepared[-1])
        if not ends or any(map(tables.in_table_d2, prepared)):
            raise ValueError("the text mixes right to left with left to right")
    return prepared
