"""Words that may come in the place of a word: those that stand beside it in a constant of the handler's modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..running.own import own_bases, own_spaces

if TYPE_CHECKING:
    from collections.abc import Iterable

_CONTAINERS = tuple, list, set, frozenset, dict


def words_of_constants(kind: type) -> list[list[bytes]]:
    """The words, bytes or text, of each constant that is a container, in order; a dictionary has its keys.

    >>> Speaker = type("Speaker", (), {"__module__": "speaking", "languages": ("en", "de"), "rate": 3})
    >>> words_of_constants(Speaker)
    [[b'en', b'de']]
    """
    spaces = (*own_spaces(kind), *map(vars, own_bases(kind)))
    constants = (value for space in spaces for value in list(space.values()) if isinstance(value, _CONTAINERS))
    return [words for constant in constants if (words := _encoded(constant))]


def words_beside(word: bytes, constants: Iterable[list[bytes]]) -> list[bytes]:
    """The other words of each of the ``constants`` that has ``word``, in order.

    >>> words_beside(b"en", [[b"en", b"de"], [b"on", b"off"]])
    [b'de']
    """
    return list(dict.fromkeys(other for words in constants if word in words for other in words if other != word))


def _encoded(constant: Any) -> list[bytes]:
    """The words of a container, as bytes, in an order that is always the same."""
    words = [word.encode() if isinstance(word, str) else word for word in constant if isinstance(word, (str, bytes))]
    return sorted(words) if isinstance(constant, (set, frozenset)) else words
