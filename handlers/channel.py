"""What a row asks of whatever runs its request: the declared contract between `reactor` and `handlers`.

A machine is a channel; so is a filter, which stands in front of another channel. The row drives the outermost
channel of its chain, and each channel drives the one behind it: the handler knows of none. The other half of this
contract, what a channel may ask of its driver, is `handlers.handler.Driver`.
"""

from __future__ import annotations

OPEN, ENDING, ENDED = "open", "ending", "ended"
"""The output of a stream: `ENDING` is shut down when it has drained, `ENDED` has been shut down."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from .handler import Driver, Handler, StreamDriver, World
    from .link import Link
    from .machines import DatagramMachine, StreamMachine
    from .packet_link import PacketLink
    from .waits import Cause, LimitPassed, Wait

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
        def patience(self) -> float:
            """Seconds that the wait which just began may take; ``inf`` for no bound."""

        @property
        def reason(self) -> BaseException | None:
            """Why the request ended; ``None`` for one that has finished, or has not ended."""

        @property
        def excess(self) -> LimitPassed | None:
            """Why the request ends, if its output has passed ``max_output``: nothing of it is to be sent."""

        @property
        def opening(self) -> bool:
            """Whether a filter opens: ``state_name``, ``wait`` and ``patience`` are the filter's meanwhile."""

        @property
        def held_in(self) -> int:
            """Bytes of input held."""

        @property
        def held_out(self) -> int:
            """Bytes of output that the kernel has not taken."""

        # What the row looks at after each turn

        fresh: bool
        """Whether a wait has begun that the row has not yet taken note of; the row sets it to ``False``."""

        @property
        def blocked(self) -> bool:
            """Whether the row must `advance` the channel: when output has drained, or others have had their turn."""

        @property
        def wants_input(self) -> bool: ...
        @property
        def begun(self) -> bool:
            """Whether the handler's ``setup()`` has succeeded: until then the handler is told of nothing."""

        @property
        def finished(self) -> bool:
            """Whether the request has ended; output may still wait for the kernel."""

        @property
        def inbox(self) -> Any:
            """The input that is held; false where there is none."""

        @property
        def outbox(self) -> Any:
            """The output for the kernel; false where there is none."""

        @property
        def complete(self) -> bool:
            """Whether the `outbox` of a request that has finished is all that is left to send.

            Else the driver must `advance` the channel for more when the outbox has been taken.
            """

        # What lets the request go on

        def advance(self) -> None:
            """Go on as far as input and output allow; the first call starts the request."""

        def resume(self, result: object) -> None: ...
        def interrupt(self, cause: Cause) -> None: ...
        def expire(self) -> None: ...
        def call_ended(self) -> None:
            """A call that the handler has made (see `Handler.call`) has ended. Runs no handler."""

        # What ends it

        def abandon(self, cause: Cause) -> None:
            """Tell the handler why the request must end, and end it whatever the handler answers."""

        def discard(self, cause: BaseException) -> None:
            """End the request without asking the handler; ``finish()`` is called if ``setup()`` had succeeded."""

        def lose(self, cause: Cause) -> None:
            """`abandon`, and drop the output: the connection is lost.

            For a request that has ended already, ``cause`` becomes the reason if there is none.
            """

        def drop_output(self) -> None:
            """Forget the output: there is nobody to send it to."""

        def close(self) -> None: ...

    class StreamChannel(Channel, Protocol):
        """The channel of a stream of bytes."""

        driver: StreamDriver
        """What drives it: the row, or the filter in front of it."""

        @property
        def ended(self) -> bool:
            """Whether the input has ended."""

        @property
        def output(self) -> str:
            """``OPEN``; ``ENDING``: to be shut down when the output has drained; ``ENDED``: shut down."""

        def feed(self, data: bytes) -> None: ...
        def end(self) -> None: ...
        def urgent(self, data: bytes, before: bytes = b"") -> None:
            """Take urgent ``data``; ``before`` are the bytes of the stream in front of it."""

        def sent(self, count: int) -> None:
            """The kernel has taken the first ``count`` bytes of the outbox."""

        def read(self, limit: int | None = None) -> bytes:
            """Hand out output as if the kernel had taken it, and go on: for a driver that is no row."""

        def forget(self, driver: StreamDriver) -> StreamChannel:
            """The row has let go of the request: refer to nothing that refers back. Returns what tells of its end.

            What the handler still asks, ``driver`` answers.
            """

        def end_output(self) -> None:
            """The row has shut down the output: it is `ENDED` now."""

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
        """A type checker finds here who is a channel, and who is a driver."""
        return stream, link, link, packets, packet_link, packet_link, world
