"""Words that may come in the place of a word: those that stand beside it in a constant of the handler's modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..running.own import own_bases, own_spaces

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONTAINERS = tuple, list, set, frozenset, dict


def words_beside(kind: type, word: bytes) -> list[bytes]:
    """The other words, bytes or text, of each constant that has ``word``, in order; a dictionary has its keys.

    >>> Speaker = type("Speaker", (), {"__module__": "speaking", "languages": ("en", "de")})
    >>> words_beside(Speaker, b"en"), words_beside(Speaker, b"fr")
    ([b'de'], [])
    """
    found = (_encoded(constant) for constant in _constants(kind))
    return list(dict.fromkeys(other for words in found if word in words for other in words if other != word))


def _constants(kind: type) -> Iterator[Any]:
    for space in (*own_spaces(kind), *map(vars, own_bases(kind))):
        yield from (value for value in list(space.values()) if isinstance(value, _CONTAINERS))


def _encoded(constant: Any) -> list[bytes]:
    """The words of a container, as bytes, in an order that is always the same."""
    words = [word.encode() if isinstance(word, str) else word for word in constant if isinstance(word, (str, bytes))]
    return sorted(words) if isinstance(constant, (set, frozenset)) else words
