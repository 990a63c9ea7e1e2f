"""`Tap`: a filter that passes everything on, and tells of it: what passes, in which direction, and when."""

from __future__ import annotations

from ...handlers.filter import Filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...handlers.channel import StreamChannel

RECEIVED, INPUT_ENDED, SENT, OUTPUT_ENDED = "received", "input ended", "sent", "output ended"
"""What a `Tap` tells of."""


class Tap(Filter):
    """Calls ``tell(tap, now, what, data)`` for each piece of input and output, before it is passed on.

    ``tap`` is this filter, one for each connection: ``tap.driver`` knows the peer. ``now`` is in seconds since
    1970-01-01 00:00 UTC. ``what`` is `RECEIVED` or `SENT`, with the ``data``, or `INPUT_ENDED` or `OUTPUT_ENDED`, with
    ``b""``. `SENT` is what the request has sent, in the pieces in which it is handed on; whether the kernel has taken
    it is not told. `OUTPUT_ENDED` is told of a request that has ended, or has called ``send_eof()``, not of one whose
    connection is lost.

    What ``tell`` raises ends the request. In the modes that have children or threads, it is called there.

    >>> import time
    >>> from functools import partial
    >>> from handlers import StreamMachine, World
    >>> from handlers.filter import chain
    >>> from handlers.services import Echo
    >>> def tell(tap, now, what, data):
    ...     print(what, data)
    >>> channel = chain(StreamMachine(Echo(), World(now=time.time)), [partial(Tap, tell=tell)])
    >>> channel.advance()
    >>> channel.feed(b"hello")
    received b'hello'
    sent b'hello'
    >>> channel.read()
    b'hello'
    >>> channel.end()
    input ended b''
    output ended b''

    For a server: ``filters = [partial(Tap, tell=tell)]``. Behind a filter that encrypts, a tap sees plain text.
    """

    __slots__ = ("_tell",)

    transparent = True

    def __init__(self, inner: StreamChannel, tell: Callable[[Tap, float, str, bytes], object]) -> None:
        super().__init__(inner)
        self._tell = tell

    def received(self, data: bytes) -> None:
        """Tell of it, and deliver it."""
        self._say(RECEIVED, data)
        self.deliver(data)

    def input_ended(self) -> None:
        """Tell of it, and deliver it."""
        self._say(INPUT_ENDED)
        self.deliver_end()

    def flow(self, data: bytes) -> None:
        """Tell of it, and put it on the wire."""
        self._say(SENT, data)
        self.put(data)

    def farewell(self) -> None:
        """Tell that no more is sent."""
        self._say(OUTPUT_ENDED)

    def _say(self, what: str, data: bytes = b"") -> None:
        self._tell(self, self.driver.now(), what, data)
