"""`Channel`: what a row may ask of the object that runs its request. The contract between `reactor` and `handlers`.

A machine is a channel. The link that runs a filter (`link.Link`, `packet_link.PacketLink`) is a channel too, and stands
in front of another channel. The row drives the outermost channel of this chain, and each link drives the channel behind
it; the handler sees none of them. The other half of the contract, what a channel may ask of its driver, is
`handlers.handler.Driver`.
"""

from __future__ import annotations

OPEN, ENDING, ENDED, CUT = "open", "ending", "ended", "cut"
"""The output of a stream: `ENDING` will be shut down when it has drained, `ENDED` has been shut down, and of what is
`CUT` the peer lacks a part that was dropped."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from .causes import Cause, LimitPassed
    from .datagrams import DatagramMachine
    from .handler import Driver, Handler, StreamDriver
    from .link import Link
    from .machines import StreamMachine
    from .packet_link import PacketLink
    from .wait import Wait
    from .world import World

    class Channel(Protocol):
        """What is common to the channels of streams and of datagrams.

        Every call that lets the handler run raises what the handler raises; the request has then ended, with that
        exception as the channel's `reason`.
        """

        # What the table shows

        @property
        def handler(self) -> Handler: ...
        @property
        def wait(self) -> Wait | None:
            """What the request waits for now; ``None`` when it has ended."""

        @property
        def state_name(self) -> str: ...
        @property
        def labels(self) -> tuple[str, ...]:
            """What the filters that are in front of the request say of themselves (`BaseFilter.label`)."""

        @property
        def patience(self) -> float:
            """Seconds that the wait which just began may take; ``inf`` for no bound."""

        @property
        def reason(self) -> BaseException | None:
            """Why the request has ended; ``None`` if it has finished, or has not ended."""

        @property
        def excess(self) -> LimitPassed | None:
            """The cause, if the output has passed ``max_output``: the request ends, and its output is not sent."""

        @property
        def opening(self) -> bool:
            """Whether a filter is opening: until it is open, ``state_name``, ``wait`` and ``patience`` are its own."""

        @property
        def held_in(self) -> int:
            """Bytes of input held."""

        @property
        def held_out(self) -> int:
            """Bytes of output that the kernel has not taken."""

        # What the row reads after each turn

        fresh: bool
        """Whether a wait has begun since the row last set this to ``False``."""

        @property
        def blocked(self) -> bool:
            """Whether the row must `advance` the channel, when output has drained or other rows have had their turn."""

        @property
        def wants_input(self) -> bool: ...
        @property
        def begun(self) -> bool:
            """Whether the handler's ``setup()`` has succeeded; before that no method of the handler is called."""

        @property
        def finished(self) -> bool:
            """Whether the request has ended; output may still wait for the kernel."""

        @property
        def inbox(self) -> Any:
            """The input that is held; false if there is none."""

        @property
        def outbox(self) -> Any:
            """The output for the kernel; false if there is none."""

        @property
        def complete(self) -> bool:
            """Whether a request that has finished has no more output than its `outbox`.

            If not, the driver must `advance` the channel for more when the kernel has taken the outbox.
            """

        # Calls with which the request goes on

        def advance(self) -> None:
            """Go on as far as input and output allow; the first call starts the request."""

        def resume(self, result: object) -> None: ...
        def interrupt(self, cause: Cause) -> None: ...
        def expire(self) -> None: ...
        def call_ended(self) -> None:
            """A call that the handler has made (see `Handler.call`) has ended. Runs no handler."""

        # Calls that end the request

        def abandon(self, cause: Cause) -> None:
            """Give the handler the cause for which the request must end; then end it, whatever the handler returns."""

        def discard(self, cause: BaseException) -> None:
            """End the request without asking the handler; ``finish()`` is called if ``setup()`` had succeeded."""

        def lose(self, cause: Cause) -> None:
            """The connection is lost: `abandon` the request, and drop the output.

            For a request that has ended already, ``cause`` becomes the reason if there is none.
            """

        def drop_output(self) -> None:
            """Drop the output: it can't be sent any more."""

        def cut_output(self) -> None:
            """As `drop_output`; of a stream, the peer may have a part of it, and must not take that for the whole."""

        def close(self) -> None: ...

    class StreamChannel(Channel, Protocol):
        """The channel of a stream of bytes."""

        driver: StreamDriver
        """What drives the channel: the row, or the filter in front of it."""

        @property
        def read_size(self) -> int:
            """Bytes that one read of the connection takes at most."""

        @property
        def ended(self) -> bool:
            """Whether the input has ended."""

        @property
        def output(self) -> str:
            """``OPEN``; ``ENDING``: to be shut down when the output has drained; ``ENDED``: shut down; ``CUT``."""

        @property
        def is_cut(self) -> bool:
            """Whether the peer lacks output that was dropped, so that it must not take the rest for the whole."""

        def feed(self, data: bytes) -> float | None:
            """Take ``data``, the next bytes of the stream.

            Returns the seconds that the next wait may take, if the request has taken all of ``data`` and waits for
            more input, and only the outbox and the wait have changed; else ``None``: the row looks at everything.
            """

        def end(self) -> None: ...
        def urgent(self, data: bytes, before: bytes = b"") -> None:
            """Take urgent ``data``; ``before`` are the bytes of the stream just before it."""

        def sent(self, count: int) -> None:
            """The kernel has taken the first ``count`` bytes of the outbox."""

        def read(self, limit: int | None = None) -> bytes:
            """Return output and drop it, as if the kernel had taken it; go on. For drivers other than rows."""

        def forget(self, driver: StreamDriver) -> StreamChannel:
            """The row has released the request: drop all references that lead back to the channel.

            Returns the channel that still knows how the request has ended. ``driver`` answers the handler from now on.
            """

        def end_output(self) -> None:
            """The row has shut down the output, which is `ENDED` now."""

    class PacketChannel(Channel, Protocol):
        """The channel of the packets of one exchange."""

        driver: Driver
        """What drives it: the row, or the filter in front of it."""

        def feed(self, packet: bytes) -> bool: ...
        def sent(self) -> None:
            """The kernel has taken the first packet of the outbox."""

        def read(self) -> bytes | None:
            """Hand out a packet as if the kernel had taken it, ``None`` if there is none; go on."""

        def forget(self, driver: Driver) -> PacketChannel:
            """The row has let go of the request: see `StreamChannel`."""

    def _proof(
        stream: StreamMachine, link: Link, packets: DatagramMachine, packet_link: PacketLink, world: World
    ) -> tuple[StreamChannel, StreamChannel, StreamDriver, PacketChannel, PacketChannel, Driver, StreamDriver]:
        """Have the type checker verify that these classes fulfil the protocols."""
        return stream, link, link, packets, packet_link, packet_link, world


def is_between_messages(channel: StreamChannel) -> bool:
    """Whether the request waits for the first byte of a message, and nothing is held in either direction."""
    if channel.opening or channel.held_in or channel.held_out:
        return False
    wait = channel.wait
    machine: Any = channel.handler._machine
    return wait is not None and wait.reads and not wait.relays and bool(machine.is_at_opening())
