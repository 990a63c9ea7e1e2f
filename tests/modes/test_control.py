"""The messages between a supervisor and its workers."""

import socket

import pytest

from reactor import Reactor
from reactor.modes.control import Control
from tests.support.loops import until


@pytest.mark.parametrize("text", ["short", "x" * 1_000_000])
def test_messages_come_whole_and_a_control_that_is_closed_leaves_nothing_in_the_loop(text):
    heard, lost = [], []
    here, there = socket.socketpair()
    with Reactor() as loop:
        ours = Control(loop, here, heard.append, lambda: lost.append("here"))
        theirs = Control(loop, there, heard.append, lambda: lost.append("there"))
        ours.send(text=text)
        until(loop, lambda: heard)
        assert heard == [{"text": text}]
        ours.close()
        until(loop, lambda: lost)
        assert lost == ["there"]
        theirs.close()
        assert not loop.watches
        assert not loop.busy


def test_a_control_with_output_closes_after_the_other_end():
    here, there = socket.socketpair()
    with Reactor() as loop:
        ours = Control(loop, here, print, print)
        ours.send(text="x" * 1_000_000)  # more than the kernel takes
        there.close()
        ours.close()
        assert here.fileno() == -1
