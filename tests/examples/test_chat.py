"""`examples/chat.py`."""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.examples import PATIENCE, Example, read_until, reset, running


def enter(example: Example, name: bytes) -> socket.socket:
    """Join the room under a free name."""
    client = example.connect()
    assert read_until(client, b"? ") == b"Your name? "
    client.sendall(name + b"\n")
    return client


def meet(example: Example, *names: bytes) -> list[socket.socket]:
    """Join one after the other; when this returns, each has read the announcements of those that came later."""
    people: list[socket.socket] = []
    for name in names:
        newcomer = enter(example, name)
        for person in people:
            assert read_until(person, b"\n") == b"* %b has come\n" % name
        people.append(newcomer)
        newcomer.sendall(b"hello\n")
        for person in people[:-1]:
            assert read_until(person, b"\n") == name + b": hello\n"
    return people


def test_chat_sends_each_line_to_all_other_members() -> None:
    with running("chat") as example:
        ada, bob, eve = meet(example, b"ada", b"bob", b"eve")
        with ada, bob, eve:
            bob.sendall(b"one\ntwo\n")
            for person in ada, eve:
                assert read_until(person, b"\n") + read_until(person, b"\n") == b"bob: one\nbob: two\n"
            ada.sendall(b"three\n")
            assert read_until(bob, b"\n") == b"ada: three\n"  # and not its own line before it


def test_chat_asks_again_when_a_name_is_taken_or_invalid() -> None:
    with running("chat") as example:
        [ada] = meet(example, b"ada")
        with ada, enter(example, b"ada") as other:
            for name in b"\r\n", b"eve\r\n":
                assert read_until(other, b"? ") == b"Your name? "
                other.sendall(name)
            assert read_until(ada, b"\n") == b"* eve has come\n"


@pytest.mark.parametrize("end", [socket.socket.close, reset, lambda sock: sock.sendall(b"x" * 2000)])
def test_chat_announces_that_a_member_has_gone_however_it_went(end) -> None:  # type: ignore[no-untyped-def]
    with running("chat") as example:
        ada, bob = meet(example, b"ada", b"bob")
        with ada, bob:
            bob.sendall(b"half a li")
            end(bob)
            assert read_until(ada, b"\n") == b"* bob has gone\n"
            with enter(example, b"bob"):  # the name is free again
                assert read_until(ada, b"\n") == b"* bob has come\n"


def test_chat_drops_a_member_that_does_not_read_and_serves_the_others() -> None:
    with running("chat") as example:
        ada, bob, eve = meet(example, b"ada", b"bob", b"eve")
        with ada, bob, eve, ThreadPoolExecutor() as pool:
            heard = pool.submit(read_until_gone, ada, b"* eve has gone\n")  # eve does not read
            line = b"x" * 999 + b"\n"
            for _ in range(40_000):  # 40 MB: more than the kernel holds for one client
                if heard.done():
                    break
                bob.sendall(line)
            assert heard.result(PATIENCE)


def read_until_gone(sock: socket.socket, last: bytes) -> bool:
    tail = b""
    while last not in tail:
        piece = sock.recv(65_536)
        if not piece:
            return False
        tail = tail[-len(last) :] + piece
    return True
