"""The properties of a network that doubles datagrams, and of a client that is quiet now and then."""

from __future__ import annotations

from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from ..inputs.borders import MOST, is_between, messages_of
from ..inputs.enclosing import BINARY
from ..inputs.tried import Tried
from ..running.drip import after_pauses, pauses_code
from ..running.report import fail, held_in_time
from ..running.run import Run, played
from ..running.spreading import thinned
from .cycles import refuse_lasting_counts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...handlers import World

FEW = 6
"""The most pieces of a conversation after which the client is quiet, and the most packets that come twice."""

GROWN = 4
"""The fewest values of a byte that numbers packets."""

TRANSACTION = 8
"""The fewest bytes of the name of a transaction."""

PAUSE = 10.0
"""The most seconds between two messages for which a client is quiet."""

PATIENT = 8
"""Timeouts in a row after which a handler counts as one that does not count them."""


@held_in_time
def answers_duplicates_once(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """A packet that the network doubles does not make the handler send the next packet of an exchange twice.

    If each side answers a duplicate, everything that follows is sent twice: the sorcerer's apprentice syndrome
    (RFC 1123, section 4.2.3.1). The property doubles each packet of an open exchange in turn. The second one may not
    draw the answer to the first one again, nor the answer to the next packet, if that is longer than the packet. A
    short answer may be an acknowledgement. A packet that has the same answer in any order is a question, and may be
    asked twice; but if the handler sends the answer again by itself when the client is silent, nobody need ask twice,
    so then it is a question only if it has that answer alone, too.

    A packet may have a number of two binary bytes, which its answer has too and other packets have not, or the name of
    a transaction of eight bytes, which its answer has in the same place. Or the packets are numbered in one byte, one
    after another, and the handler is silent if one of them is left out. Then a packet that comes again at once is the
    same one, and must have the same answer: it may not be acted on again (RFC 7252, section 4.5). Where a byte of the
    packets only stays the same or grows by one, a packet that comes twice may not change the length or the number of
    later answers: what it asks for is done once.

    >>> from handlers.services import EchoDatagram
    >>> answers_duplicates_once(EchoDatagram, [b"one", b"two"])
    """
    tried = Tried(kind, conversation, world)
    if not tried.packets:
        return
    is_numbered = _refuse_twice(tried)
    if _grows_by_one(tried.pieces):
        _refuse_done_twice(tried)
    for place in range(1, min(FEW, len(tried.pieces) - 1)):
        before, packet, after = tried.pieces[:place], tried.pieces[place], tried.pieces[place + 1]
        alone, right, twice, late = (
            _answers(tried, packets)
            for packets in (
                [packet],
                [*before, packet, after],
                [*before, packet, packet],
                [*before, packet, after, packet],
            )
        )
        if right is None or twice is None:  # one packet of them begins another exchange
            continue
        first, following, second = right[place], right[place + 1], twice[place + 1]
        orders = [alone] if _sends_again(tried, [*before, packet], first) else [alone, late]
        is_question = any(answers is not None and answers[-1] == first for answers in orders)
        is_question |= second == first and (is_numbered or _has_its_number(packet, after, first, following))
        if second and second in (first, following) and len(b"".join(second)) > len(packet) and not is_question:
            run, begun = _doubled(tried, before, packet)
            fault = (
                "it answers a packet that comes twice with the next packet twice (sorcerer's apprentice syndrome, "
                "RFC 1123, section 4.2.3.1): ignore the duplicate"
            )
            code = f"{run.code(begun)}\n{run.code(first=begun)}\nassert list(iter(machine.read, None)) == []"
            fail(tried, fault, "answers_duplicates_once", code)


def _doubled(tried: Tried, before: list[bytes], packet: bytes) -> tuple[Run, int]:
    """A run in which the packet comes twice, and the number of its calls before the second time."""
    run = Run(tried)
    for piece in [*before, packet]:
        run.step(piece)
    run.drain()
    begun = run.calls
    run.step(packet)
    return run, begun


def _sends_again(tried: Tried, packets: list[bytes], answer: list[bytes]) -> bool:
    """Whether the handler sends its answer to the last of these packets again by itself, if the client is silent."""
    run = Run(tried)
    for packet in packets:
        run.step(packet)
        run.drain()
    told = len(run.output)
    if _reads(run):
        run.step(run.patience)
        run.drain()
    run.close()
    return bool(run.output[told:] == answer)


def _refuse_twice(tried: Tried) -> bool:
    """Fail if a packet with a number is acted on again. Whether the packets have one, which their answers have too."""
    answers = _answers(tried, tried.pieces)
    if answers is None or not (
        _is_numbered(tried.pieces, answers) or _has_transactions(tried.pieces, answers) or _is_counted(tried, answers)
    ):
        return False
    for place, packet in enumerate(tried.pieces[:FEW]):
        twice = _answers(tried, [*tried.pieces[:place], packet, packet])
        if twice is not None and twice[place] and not set(twice[place + 1]) <= set(twice[place]):
            run, begun = _doubled(tried, tried.pieces[:place], packet)
            fault = "it acts again on a packet that comes twice, although the packet has a number: answer as before"
            answers_again = "set(iter(machine.read, None)) <= set(output)"
            code = f"{run.code(begun)}\n{run.code(first=begun)}\nassert {answers_again}"
            fail(tried, fault, "answers_duplicates_once", code)
    return True


def _grows_by_one(packets: list[bytes]) -> bool:
    """Whether a byte of the packets only stays the same or is one more, and so numbers them."""
    for at in range(min(map(len, packets))):
        numbers = [packet[at] for packet in packets]
        steps = {two - one for one, two in pairwise(numbers)}
        if steps <= {0, 1} and max(numbers) < 0x20 and len(set(numbers)) >= GROWN:
            return True
    return False


def _refuse_done_twice(tried: Tried) -> None:
    """Fail if a packet that comes twice, and has a number, changes a later answer."""
    packets = tried.pieces[:-1]
    right = _answers(tried, packets)
    for place in thinned(list(range(1, len(packets) - 1)), FEW) if right is not None else ():
        before, after = packets[: place + 1], packets[place + 1 :]
        answers = _answers(tried, [*before, packets[place], *after])
        if right is None or answers is None or _lengths(answers[place + 2 :]) == _lengths(right[place + 1 :]):
            continue
        codes = []
        for name, begun in ("once", before), ("twice", [*before, packets[place]]):
            run = Run(tried, name=name)
            for packet in begun:
                run.step(packet)
            run.drain()
            calls = run.calls
            for packet in after:
                run.step(packet)
            codes += [run.code(calls), run.code(first=calls), f"{name}s = list(map(len, iter({name}.read, None)))"]
            run.close()
        fault = "a packet that comes twice is done twice, although the packets have numbers: a later answer differs"
        fail(tried, fault, "answers_duplicates_once", "\n".join([*codes, "assert twices == onces"]))


def _lengths(answers: list[list[bytes]]) -> list[list[int]]:
    return [list(map(len, answer)) for answer in answers]


def _has_its_number(packet: bytes, after: bytes, first: list[bytes], following: list[bytes]) -> bool:
    """Whether the next packet has the next number in some byte, and each of the two answers that of its packet.

    The next piece of a file has the number behind that of the acknowledgement that it answers.
    """
    answer, other = b"".join(first), b"".join(following)
    numbers = {(one, one + 1) for one, two in zip(packet, after, strict=False) if two == one + 1}
    return not numbers.isdisjoint(zip(answer, other, strict=False))


def _is_numbered(packets: list[bytes], answers: list[list[bytes]]) -> bool:
    """Whether there is a number in one place of all packets that have answers, which differs, and which these have too.

    Of many answers one may not have it; half of them, if the numbers follow one another, and are too large for chance.
    """
    answered = [(packet, answer) for packet, answer in zip(packets, answers, strict=True) if answer]
    if len(answered) < 2:
        return False
    packets, answers = [packet for packet, _ in answered], [answer for _, answer in answered]
    for at in range(min(map(len, packets)) - 1):
        numbers = [packet[at : at + 2] for packet in packets]
        told = sum(number in b"".join(answer) for number, answer in zip(numbers, answers, strict=True))
        steps = {int.from_bytes(two, "big") - int.from_bytes(one, "big") for one, two in pairwise(numbers)}
        grows = steps == {1} and numbers[0][0] > 0
        is_told = told == len(packets) or told == len(packets) - 1 > FEW or (grows and len(packets) <= 2 * told)
        if is_told and len(set(numbers)) == len(numbers) and all(min(number) < 0x20 for number in numbers):
            return True
    return False


def _has_transactions(packets: list[bytes], answers: list[list[bytes]]) -> bool:
    """Whether each packet has other bytes in one place, so many that they are no number, and its answer has them there.

    Such are the transactions of STUN (RFC 8489, section 5).
    """
    told = [(packet, answer[0]) for packet, answer in zip(packets, answers, strict=True) if answer]
    if len(told) < max(2, len(packets) - 1):
        return False
    for at in range(min(len(part) for pair in told for part in pair) - TRANSACTION + 1):
        names = {
            packet[at : at + TRANSACTION]
            for packet, answer in told
            if answer.startswith(packet[at : at + TRANSACTION], at)
        }
        if len(names) == len(told):
            return True
    return False


def _is_counted(tried: Tried, answers: list[list[bytes]]) -> bool:
    """Whether a byte of the packets counts them. Kinds of packets have such numbers too, but come in any order."""
    packets = tried.pieces
    if len(packets) < 3 or not all(answers):
        return False
    for at in range(min(map(len, packets))):
        numbers = [packet[at : at + 1] for packet in packets]
        is_told = all(number in b"".join(answer) for number, answer in zip(numbers, answers, strict=True))
        if is_told and all(number[0] == numbers[0][0] + place < 0x20 for place, number in enumerate(numbers)):
            return not any(_is_taken_without(tried, place) for place in range(min(FEW, len(packets) - 1)))
    return False


def _is_taken_without(tried: Tried, place: int) -> bool:
    """Whether a packet is answered although the one before it, at ``place``, has not come."""
    answers = _answers(tried, [*tried.pieces[:place], tried.pieces[place + 1]])
    return answers is None or bool(answers[-1])


def _answers(tried: Tried, packets: Sequence[bytes]) -> list[list[bytes]] | None:
    """The answers to each packet of one exchange; ``None`` if it ends before the last."""
    run, answers, told = Run(tried), list[list[bytes]](), 0
    for packet in packets:
        if run.finished or run.over:
            run.close()
            return None
        run.step(packet)
        run.drain()
        answers.append(run.output[told:])
        told = len(run.output)
    run.close()
    return answers


class _Quiet(NamedTuple):
    """A run in which the client is quiet after some of its pieces."""

    run: Run
    is_open: bool
    """Whether the request is still open, and waits for input."""


@held_in_time
def forgives_timeouts(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """A client that is quiet now and then, or says the same again and again, is not given up.

    A handler that sends again after a timeout, or asks whether the client is alive, counts how often, and sets the
    count to 0 when something comes. Otherwise a long exchange over a network that loses a packet now and then fails.
    The property finds how many timeouts in a row the handler bears after each line, or packet; it must bear as many
    after each of them in one request. Where there are no lines, messages are cut where the handler waits for the next
    one. What takes longer than the ``request_timeout`` of the handler does not count, nor does a packet without an
    answer, such as one that comes late. A client that has been quiet between two messages of a stream, for half of the
    time that it has, at most ten seconds, has as much time for the next one as before.

    So it is with a binary message whose checksum is wrong now and then, and that is asked for again: the property sends
    each message with another last byte first. As many as the handler bears before one message, it must bear before
    each. And a client of a stream may say the same 300 times: if the answer has been the same each time, it may not be
    another one from some time on, and ever after, while the connection stays open, and nothing is kept for it: what is
    counted for one message, or one mail, is not that of the connection.

    >>> from handlers.services import Echo
    >>> forgives_timeouts(Echo, b"one\\r\\ntwo\\r\\n")
    """
    tried = Tried(kind, conversation, world)
    if not tried.packets:
        _refuse_impatience(tried)
        _refuse_lasting_errors(tried)
        refuse_lasting_counts(tried)
    pieces = (tried.pieces if tried.packets else _messages(tried))[:FEW]
    while pieces and not _quiet(tried, pieces, [0] * len(pieces)).is_open:
        pieces = pieces[:-1]
    heeded = [place for place in range(len(pieces)) if not tried.packets or _is_heeded(tried, pieces[: place + 1])]
    if len(heeded) < 2:
        return
    borne = min(_borne(tried, pieces, place) for place in heeded)
    if not 0 < borne < PATIENT:
        return
    given_up = _quiet(tried, pieces, [borne if place in heeded else 0 for place in range(len(pieces))])
    if not given_up.is_open and given_up.run.error is None and given_up.run.clock < _bound(tried):
        fault = (
            f"it bears {borne} timeouts in a row, but not as many again after something has come: set the count of "
            "timeouts to 0 when something comes"
        )
        fail(tried, fault, "forgives_timeouts", f"{given_up.run.code()}\nassert not machine.finished")


def _bound(tried: Tried) -> float:
    """The seconds that a request may take; without end if the handler counts messages, or declares no bound."""
    seconds = tried.handler.request_timeout
    return inf if seconds is None or played(tried, tried.pieces).machine.handler.one_by_one else seconds


def _is_heeded(tried: Tried, packets: list[bytes]) -> bool:
    """Whether the last packet has an answer: one that comes late, and that nobody waits for, is no progress."""
    return len(played(tried, packets).output) > len(played(tried, packets[:-1]).output)


def _refuse_impatience(tried: Tried) -> None:
    """Fail if a pause between two messages, in which the handler waits on, ends the request in the next message."""
    data, bound = tried.pieces[0], _bound(tried)
    for begin, end in pairwise(_answered(tried)[: FEW + 1]):
        middle = (begin + end) // 2
        steps = [data[:begin], data[begin:middle], data[middle:end]]
        before, plain = played(tried, steps[:1]), played(tried, [*steps])
        pause = min(before.patience / 2, PAUSE)
        if plain.finished or before.clock + pause >= bound:
            continue
        with_pause: list[bytes | float] = [*steps[:1], pause, *steps[1:]]
        run = after_pauses(tried, with_pause)
        if run.finished and run.error is None and not after_pauses(tried, with_pause[:2]).finished:
            fault = (
                f"a client that is quiet for {pause:g} seconds between two messages is given up in the next one, as if "
                "that had taken so long: measure the time of a message from its first byte on"
            )
            code = pauses_code(tried, with_pause, run.asked)
            fail(tried, fault, "forgives_timeouts", f"{code}\nassert not machine.finished")


def _answered(tried: Tried) -> list[int]:
    """The places behind messages of a stream that have an answer, each when its last byte has come."""
    run, told, found = Run(tried), 0, []
    for at, byte in enumerate(tried.pieces[0][:MOST], 1):
        run.step(bytes([byte]))
        run.drain()
        if len(run.output) > told and not run.over and is_between(run):
            found.append(at)
        told = len(run.output)
    run.close()
    return found


def _refuse_lasting_errors(tried: Tried) -> None:
    """Fail if damaged messages, each of which is asked for again, are counted in all."""
    messages = [message for message in messages_of(tried) if BINARY.search(message)][:FEW]
    pairs = [(message[:-1] + bytes([message[-1] ^ 1]), message) for message in messages]
    while pairs and not _is_asked_again(tried, [message for _, message in pairs[:-1]], *pairs[-1]):
        pairs.pop()
    if len(pairs) < 2 or not all(
        _is_asked_again(tried, [message for _, message in pairs[:place]], *pairs[place]) for place in range(len(pairs))
    ):
        return
    damaged, first = pairs[0]
    borne = next((count for count in range(1, PATIENT) if _ends(tried, [damaged] * (count + 1) + [first])), PATIENT)
    if borne == PATIENT:
        return
    steps = [piece for broken, message in pairs for piece in [broken] * borne + [message]]
    if _ends(tried, steps):
        run = played(tried, [*steps])
        fault = (
            f"it bears {borne} damaged messages in a row, but not as many again after a right one: set the count of "
            "errors to 0 when a message is right"
        )
        fail(tried, fault, "forgives_timeouts", f"{run.code()}\nassert not machine.finished")


def _is_asked_again(tried: Tried, before: list[bytes], damaged: bytes, message: bytes) -> bool:
    """Whether a damaged message is answered, in another way, and the right one behind it as ever."""
    none, right, error, both = (
        played(tried, [*before, *more]) for more in ([], [message], [damaged], [damaged, message])
    )
    size = len(none.output)
    told = error.output[size:]
    return (
        bool(told)
        and not error.finished
        and told != right.output[size:]
        and (both.output[size:] == told + right.output[size:])
    )


def _ends(tried: Tried, pieces: list[bytes]) -> bool:
    run = played(tried, [*pieces])
    return run.finished and run.error is None


def _messages(tried: Tried) -> list[bytes]:
    """The lines of a stream; if it has no two, its messages."""
    lines = tried.pieces[0].splitlines(keepends=True)
    return lines if len(lines) > 1 else messages_of(tried)


def _borne(tried: Tried, pieces: list[bytes], place: int) -> int:
    """How many timeouts in a row the handler bears after the piece at ``place``."""
    for count in range(1, PATIENT + 1):
        counts = [0] * len(pieces)
        counts[place] = count
        if not _quiet(tried, pieces, counts).is_open:
            return count - 1
    return PATIENT


def _quiet(tried: Tried, pieces: list[bytes], counts: list[int]) -> _Quiet:
    run = Run(tried)
    for piece, count in zip(pieces, counts, strict=True):
        run.step(piece)
        for _ in range(count):
            if not _reads(run):
                break
            run.drain()
            run.step(run.patience)
        if not _reads(run):
            break
    is_open = _reads(run)
    run.close()
    return _Quiet(run, is_open)


def _reads(run: Run) -> bool:
    """Whether the request is open, and waits for input, with a timeout."""
    is_open = not (run.finished or run.over) and run.wait is not None
    return is_open and bool(run.wait and run.wait.reads) and run.patience < float("inf")
