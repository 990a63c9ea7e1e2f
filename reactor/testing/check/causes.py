"""The properties of causes: an end is no reason to wait for more, and a slow client is timed out in the end."""

from __future__ import annotations

import re
from itertools import pairwise
from math import inf
from operator import ne
from typing import TYPE_CHECKING, Any, NamedTuple

from ...handlers import ToEnd
from ..inputs.borders import borders_of, firsts_of, is_between, is_inside, pieces_again
from ..inputs.stretched import measured
from ..inputs.tried import Tried
from ..running.drip import LONG, Drip, dripped, trickle
from ..running.evidence import asserted, fault_of
from ..running.report import fail, held_in_time
from ..running.run import Run, played
from ..running.schedule import END
from ..running.snippets import literal
from ..running.spreading import places, spread, spread_over, thinned
from .slow import refuse_endless_openings, refuse_long_messages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...handlers import World
    from ..inputs.borders import Border
    from ..running.schedule import Schedule

FEW = 6
"""The most places at which a message may begin where the end of the stream is compared with silence, and the most
pieces inside messages that come now and then."""

RENEWALS = 40
"""How often a piece comes inside a message, each time late."""

LATE = 1.5
"""How many times the seconds of ``request_timeout`` a message may take."""

MALFORMED = b"!\r\n", b"!\n", b"\xff" * 16
"""What no message ends with, or is."""

NUMBERS = 2
"""The most bytes of a question that another one has otherwise: the end of its number."""

SPOTS = 16
"""The most places of a conversation at which a client begins to drip. Of more, they are evenly spread."""


@held_in_time
def takes_causes_for_ends(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """At each wait, the end of the stream ends the request, and so does a server that closes.

    ``except Exception`` around a wait catches the causes too: `EndOfStream`, `TimedOut`, `Cancelled` and others. A
    handler that answers each of them and waits for input again goes round for ever after the end of the stream, for it
    is told of the end at each wait. The property tries this after each byte of the conversation. It also cancels the
    request there, as a server does that closes: the handler may raise nothing but the cause. A handler that sends
    without end of its own accord, and waits for no input, is not meant.

    A handler that answers each silence in the same way, such as with a question whether the client is there, and waits
    on, may not answer so the end of the stream inside a message: only `TimedOut` means silence. Nor may a handler of
    datagrams that sends again after each silence do so when it is cancelled. A handler of streams that is cancelled may
    not answer as it answers a malformed message, and end as if it had finished.

    A message that the end of the stream cuts off is not whole: where a length says how long a part of it is, or where
    more parts must follow, the handler may not answer it as it answers the whole message. A timeout there may not make
    it wait for the next message while it still holds a part of this one: it would take the rest for the next one.

    >>> from handlers.services import CharGen
    >>> takes_causes_for_ends(CharGen, b"")
    """
    tried = Tried(kind, conversation, world)
    for place in places(tried.length):
        if not tried.packets:
            run = played(tried, [*tried.first(place), END])
            if run.endless and run.error is None and run.wait is not None and run.wait.reads:
                fault = (
                    "it answers the end of the stream and waits for input again, for ever: `except Exception` around "
                    "a wait catches EndOfStream too"
                )
                fail(tried, fault, "takes_causes_for_ends", asserted(run, finished=True))
        run = _cancelled(tried, place)
        if run.error is not None:
            fail(tried, f"when it is cancelled {fault_of(run, '')}", "takes_causes_for_ends", run.code())
        if tried.packets:
            _refuse_asked_cancellation(tried, place, run)
        else:
            _refuse_cancelled_as_malformed(tried, place, run)
    borders = borders_of(tried)
    for border in thinned([border for border in borders if border.is_first], FEW):
        _refuse_asked_end(tried, border.at)
    for message in _messages(borders):
        for place in spread(message.second, message.end - 1, SPOTS):
            _refuse_cut(tried, message, place)
            _refuse_leftover(tried, message, place)


class _Message(NamedTuple):
    """The places in a conversation at which a message begins, at which its first part has come, and at which it ends.

    The end of the message is told by the message itself: then the handler waits for the next one.
    """

    begin: int
    second: int
    end: int


def _messages(borders: list[Border]) -> Iterator[_Message]:
    firsts = [border for border in borders if border.is_first]
    for one, following in pairwise(firsts):
        inside = [border.at for border in borders if one.at < border.at < following.at]
        if inside and not isinstance(one.wait, ToEnd):
            yield _Message(one.at, inside[0], following.at)


def _refuse_asked_end(tried: Tried, place: int) -> None:
    """Fail if the end of the stream, in the message that begins here, is answered as silence is: by a question."""
    before, begun = [tried.pieces[0][:place]], [tried.pieces[0][: place + 1]]
    plain, ended = played(tried, begun), played(tried, [*begun, END])
    if len(ended.output) == len(plain.output) or plain.over or plain.patience == inf:
        return
    inside = played(tried, [*begun, plain.patience])  # where the time of a message may be over
    none, once, twice = (played(tried, [*before, *[plain.patience] * times]) for times in range(3))
    question, again = once.output[len(none.output) :], twice.output[len(once.output) :]
    is_asked = _is_alike(ended.output[len(plain.output) :][: len(question)], question)
    is_silence = inside.finished or _is_alike(inside.output[len(plain.output) :], question)
    is_question = not once.over and (_is_alike(again, question) or (twice.finished and not again))
    if question and is_asked and is_silence and is_question:
        fault = (
            "it answers the end of the stream as it answers silence: only TimedOut means that the client is silent, "
            "end the request for any other cause"
        )
        fail(tried, fault, "takes_causes_for_ends", asserted(ended, plain.output))


def _is_alike(one: bytes, other: bytes) -> bool:
    """Whether two questions are the same but for their numbers: of one length, and with few other bytes."""
    return len(one) == len(other) and sum(map(ne, one, other)) <= min(NUMBERS, len(one) // 4)


def _refuse_asked_cancellation(tried: Tried, place: int, cancelled: Run) -> None:
    """Fail if a request that is ``cancelled`` here sends what it sends again after each silence."""
    plain = played(tried, tried.first(place))
    again = cancelled.output[len(plain.output) :]
    if not again or plain.over or plain.patience == inf:
        return
    silent = played(tried, [*tried.first(place), plain.patience])
    patience = silent.patience
    if silent.output != plain.output + again or silent.over or patience == inf:
        return
    if played(tried, [*tried.first(place), plain.patience, patience]).output == silent.output + again:
        fault = (
            "when it is cancelled it sends again what it sends after silence: `except Exception` around a wait catches "
            "Cancelled too, and only TimedOut means that the client is silent"
        )
        fail(tried, fault, "takes_causes_for_ends", asserted(cancelled, plain.output))


def _refuse_cancelled_as_malformed(tried: Tried, place: int, cancelled: Run) -> None:
    """Fail if a request that is ``cancelled`` here answers as it answers a malformed message, and has no reason."""
    begun = tried.first(place)
    if not cancelled.finished or cancelled.reason is not None or cancelled.output == played(tried, begun).output:
        return
    for malformed in MALFORMED:
        run = played(tried, [*begun, malformed])
        if run.finished and run.reason is None and run.output == cancelled.output:
            fault = (
                f"when it is cancelled it answers as it answers {literal(malformed)}, and ends as if it had finished: "
                "`except Exception` around a wait catches Cancelled, TimedOut and EndOfStream too"
            )
            code = f"{cancelled.code()}\nassert {cancelled.name}.reason is not None"
            fail(tried, fault, "takes_causes_for_ends", code)


def _refuse_cut(tried: Tried, message: _Message, place: int) -> None:
    """Fail if a message that the end of the stream cuts off is answered as if it were whole."""
    data = tried.pieces[0]
    steps: tuple[Schedule, ...] = [data[:place]], [data[: message.end]], [data[:place], END]
    plain, whole, cut = (played(tried, schedule).output for schedule in steps)
    right, got = whole[len(plain) :], cut[len(plain) :]
    text = data[message.begin : message.end]
    if right and got and _form(right, text) == _form(got, text):
        run = played(tried, [data[:place], END])
        fault = "it answers a message that the end of the stream has cut off as if it were whole"
        code = f"{run.code()}\nassert {run.output_code()} == {literal(plain)}"
        fail(tried, fault, "takes_causes_for_ends", code)


def _form(answer: bytes, message: bytes) -> list[bytes]:
    """The answer without numbers, and without words of the message."""
    parts = re.split(rb"([A-Za-z0-9]+)", answer)
    return [part for part in parts if not part.isdigit() and not (part.isalnum() and part in message)]


def _refuse_leftover(tried: Tried, message: _Message, place: int) -> None:
    """Fail if a timeout in a message leaves a part of it for the next message."""
    data = tried.pieces[0][: message.end]  # what follows may well end the request
    run = Run(tried)
    run.step(data[:place])
    if is_inside(run) and run.machine.held_in > 0 and run.patience < inf:
        run.step(run.patience)
        if not (run.over or run.finished) and is_between(run) and run.machine.held_in > 0:
            whole, before = played(tried, [data]).output, played(tried, [data[:place]]).output
            run.step(data[place:])
            run.drain()
            if not run.finished and not run.output.endswith(whole[len(before) :]):
                fault = (
                    "after a timeout in a message it waits for the next one, and takes what it holds of this one, "
                    "and the rest, for its beginning: `except Exception` around a wait catches TimedOut too"
                )
                rest = f"({run.output_code()}).endswith({literal(whole[len(before) :])})"
                code = f"{run.code()}\nassert machine.finished or {rest}"
                fail(tried, fault, "takes_causes_for_ends", code)
    run.close()


def _cancelled(tried: Tried, place: int) -> Run:
    """The run of a request that is cancelled after a beginning of the conversation."""
    run = Run(tried)
    for piece in tried.first(place):
        run.step(piece)
    if not run.over and not run.finished:
        run.drain()
        run.cancel()
        run.drain()
    run.close()
    return run


@held_in_time
def ends_if_it_drips(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """A client that says nothing, or sends one byte of a message after another, does not keep the request for ever.

    A timeout counts from the beginning of a wait. A handler that collects a message with many waits, such as `Some`
    again and again, starts it anew with each byte, so that many slow clients can hold all places of a server (slow
    loris). The property drips letters at the places of the conversation where a word begins or ends, and behind a
    length that says more: within 32 bytes, or 12 where each `Some` waits for what is left of a known length, the
    request must end, answer, or hold no more than before. A limit of the bytes that comes later ends it too late; a
    handler that reads a line, or a body, by one wait is right. A handler that catches `TimedOut` and waits again keeps
    the request of a client that has gone: where a client says nothing more, the request must end. So must one of
    datagrams that sends the same again after each silence.

    The property looks only at handlers that declare a ``timeout``, in the class or in the wait. One whose messages may
    take any time declares ``request_timeout`` or ``min_rate``, which the reactor keeps, or says
    ``check(..., meant=["ends_if_it_drips"])``. If it declares ``request_timeout``, or asks ``self.now()`` inside a
    message, the pieces that may come again inside a message, such as lines of a text, come 200 times now and then: it
    may not begin the time of the message anew for each of them, answered or not, nor for letters behind the last answer
    of the conversation. Nor may a message of the conversation take far longer than ``request_timeout`` if its parts
    come late, or the bytes of a longer part. A handler without it that bounds how many pieces come in a message may not
    multiply its timeout with that number: a message takes at most as long as 16 waits. And before the handler calls
    ``opened()``, a message that comes again and again without an answer, such as an empty one that says that the client
    is there, may not keep the request of a client that never logs in.

    >>> from handlers.services import Echo
    >>> ends_if_it_drips(Echo, b"one")
    """
    tried = Tried(kind, conversation, world)
    seconds = tried.handler.request_timeout
    if tried.packets:
        _refuse_silence(tried)
        return
    if not tried.handler.min_rate:
        if seconds is None:
            _refuse_silence(tried)
            _refuse_letters(tried)
            refuse_long_messages(tried)
        _refuse_pieces(tried)
        refuse_endless_openings(tried)
    if seconds is not None:
        _refuse_late_pieces(tried, seconds)
        _refuse_renewals(tried, seconds)


def _refuse_pieces(tried: Tried) -> None:
    """Fail if a client that sends a piece now and then, which gets no answer, keeps the request open."""
    for start, piece in [*_inside(tried), *(_left_for_good(tried) if tried.handler.request_timeout is None else [])]:
        what = f"a client that sends {literal(piece)} now and then gets no answer, and keeps"
        why = ". Bound how many come, or declare request_timeout, for all of a message"
        _refuse_drip(tried, dripped(tried, [start], piece, grows=False), what, why, [literal(start), literal(piece)])


def _refuse_late_pieces(tried: Tried, seconds: float) -> None:
    """Fail if a message whose parts come late takes far longer than the ``seconds`` of the handler for one message."""
    for before, parts in _in_parts(tried):
        spent = trickle(tried.given, before, parts, tried.world)
        if spent > LATE * seconds:
            fault = (
                f"a message whose parts come late takes {spent:.0f} seconds, and request_timeout is {seconds:g}: count "
                "one_by_one once for each message, where it begins"
            )
            call = tried.call("trickle", tried.text, literal(before), literal(parts))
            fail(tried, fault, "ends_if_it_drips", f"assert {call} < {spent!r}")


def _refuse_renewals(tried: Tried, seconds: float) -> None:
    """Fail if a question inside a message, which is answered, begins the time of the message anew.

    So it is with letters that come when all has been said and answered, and the handler waits for the end.
    """
    data, firsts = tried.pieces[0], firsts_of(tried)
    inside = _inside(tried) if len(firsts) > 1 else ()  # else its messages begin in another place than the first one
    questions = [(start, piece) for start, piece in inside if _is_answered(tried, start, piece)]
    last = [(data, b"a")] if _is_answered(tried, data[:-1], data[-1:]) else []
    for start, piece in [*questions, *last]:
        begin, again = max((at for at in firsts if at < len(start)), default=0), [piece] * RENEWALS
        if _ends_inside(tried, start + piece * RENEWALS):
            spent = trickle(tried.given, data[:begin], [start[begin:], *again], tried.world)
            if spent > LATE * seconds:
                fault = (
                    f"a client that sends {literal(piece)} again and again inside a message, or behind the last one, "
                    f"keeps the request open for {spent:.0f} seconds, and request_timeout is {seconds:g}: count "
                    "one_by_one once for each message"
                )
                sent = f"[{literal(start[begin:])}] + [{literal(piece)}] * {RENEWALS}"
                call = tried.call("trickle", tried.text, literal(data[:begin]), sent)
                fail(tried, fault, "ends_if_it_drips", f"assert {call} < {spent!r}")


def _is_answered(tried: Tried, start: bytes, piece: bytes) -> bool:
    return len(played(tried, [start + piece]).output) > len(played(tried, [start]).output)


def _in_parts(tried: Tried) -> Iterator[tuple[bytes, list[bytes]]]:
    """What comes before a message, and its parts, each of which may come late; or single bytes of a long part of it."""
    data, borders = tried.pieces[0], borders_of(tried)
    firsts = [border.at for border in borders if border.is_first]
    for begin, end in pairwise(firsts):
        yield data[:begin], [data[at:after] for at, after in pairwise([b.at for b in borders if begin <= b.at <= end])]
    for stretched in measured(tried):
        begun = stretched.begun(2 * LONG)
        begin = max((at for at in firsts if at < len(begun)), default=0)
        if _ends_inside(tried, begun + stretched.letter * LONG):
            yield begun[:begin], [begun[begin:], *([stretched.letter] * LONG)]


def _ends_inside(tried: Tried, data: bytes) -> bool:
    """Whether ``data`` ends inside a message."""
    run = Run(tried)
    run.step(data)
    ends_inside = is_inside(run)
    run.close()
    return ends_inside


def _refuse_silence(tried: Tried) -> None:
    """Fail if a client that says nothing more keeps the request open."""
    for place in [1, *spread(2, tried.length, SPOTS)] if tried.packets else [0, *tried.word_ends(SPOTS)]:
        what = "a client that says nothing more keeps"
        why = ": each timeout is caught, and begins another wait. Bound how many, or declare request_timeout"
        begun = tried.first(place)
        sent = [literal(begun if len(begun) > 1 else b"".join(begun)), literal(b"")]
        _refuse_drip(tried, dripped(tried, begun, b"", grows=False), what, why, sent)


def _refuse_letters(tried: Tried) -> None:
    """Fail if a client that sends one letter after another keeps the request open."""
    starts = [tried.pieces[0][:place] for place in [0, *tried.word_ends(SPOTS)]]
    for start in [*starts, *(stretched.begun(2 * LONG) for stretched in measured(tried))]:
        for filler in dict.fromkeys([b"a", *([start[-1:]] if start[-1:].isalnum() else [])]):
            what = "a client that sends a byte now and then keeps"
            why = ": each byte starts the timeout anew. Declare request_timeout or min_rate; per message: one_by_one"
            _refuse_drip(tried, dripped(tried, [start], filler), what, why, [repr(start), repr(filler)])


def _refuse_drip(tried: Tried, found: Drip, what: str, why: str, sent: list[str]) -> None:
    """Fail if what a client has ``sent``, again and again, keeps the request open."""
    if found.is_kept_open:
        seconds = f"{found.seconds:.0f} seconds{' and more' if found.is_open else ''}"
        fault = f"{what} the request open for {seconds}{why}"
        call = tried.call("drip", tried.text, *sent)
        fail(tried, fault, "ends_if_it_drips", f"assert {call} < {found.seconds!r}")


def _inside(tried: Tried) -> Iterator[tuple[bytes, bytes]]:
    """What comes before it, and a piece that may come again inside a message whose time the handler bounds."""
    data, firsts = tried.pieces[0], [border.at for border in borders_of(tried) if border.is_first]
    inside = [(start, end) for start, end in pieces_again(tried) if not any(start <= at <= end for at in firsts)]
    has_time = tried.handler.request_timeout is not None
    for start, end in spread_over(inside, FEW):
        if has_time or _asks_time(tried, max(at for at in firsts if at < start), end):
            yield data[:start], data[start:end]


def _left_for_good(tried: Tried) -> Iterator[tuple[bytes, bytes]]:
    """What comes before it, and a piece that may come again, where it begins and does not come back later.

    Where another piece that begins there is answered, it is a message, such as one that says that the client is there.
    """
    borders, data = borders_of(tried), tried.pieces[0]
    last = {border.place: border.at for border in borders}
    places = {border.at: border.place for border in borders if border.is_first}
    first = {border.place: border.at for border in reversed(borders)}
    for start, end in pieces_again(tried):
        if start in places and places.get(end) == places[start] and last[places[end]] == end < borders[-1].at:
            begun, ended = (played(tried, tried.first(at)).output for at in (first[places[end]], end))
            if begun == ended:
                yield data[:start], data[start:end]


def _asks_time(tried: Tried, begin: int, end: int) -> bool:
    """Whether the handler asks for the time inside a message: to keep a deadline of its own, and not for its answer."""
    before, inside = (played(tried, [tried.pieces[0][:at]]).asked for at in (begin, end))
    return "now" in inside - before
