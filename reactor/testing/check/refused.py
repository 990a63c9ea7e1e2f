"""The property of what a handler refuses: it has one answer, and the rest of what is too large is no message."""

from __future__ import annotations

import re
from functools import partial
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from ...handlers import Until
from ..inputs.borders import borders_of, firsts_of, is_between
from ..inputs.enclosing import BINARY
from ..inputs.tried import Tried
from ..running.evidence import bytes_of
from ..running.report import fail, held_in_time
from ..running.run import Run, played
from ..running.schedule import END
from ..running.snippets import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...handlers import World
    from ..inputs.borders import Border
    from ..running.schedule import Schedule

SPOTS = 4
"""The most lengths, and the most lines, of a conversation that are tried."""

MOST = 65_536
"""The longest line that is tried."""

SIZES = 64, 512, 4_096, 32_768
"""Bytes of data, about, that may be too many."""

BYTES = 12
"""The first bytes of a message that are changed."""

MORE = 7
"""Bytes more than a message has that its length says to see whether it is one."""

LAST = 4
"""The last bytes of a packet that are changed."""

BITS = 0x20, 0x81
"""What is changed in a byte, such as a version or a kind. The first one gives a letter another case."""

VALUES = tuple(range(0x11, 0x100, 0x11))
"""What is changed in a byte of a binary message to see what is left of it: fifteen other values."""

ALMOST = 11
"""So many of these, and more, are almost any value."""

_WORD = re.compile(rb"[!-~]+")
_COUNT = re.compile(rb"(?<![0-9A-Za-z])([0-9]{1,4})(\r\n|\n)")


class Counted(NamedTuple):
    """A conversation with data whose length is told in digits at the end of the line before."""

    before: bytes
    sign: bytes
    after: bytes

    def filled(self, data: bytes) -> bytes:
        """The conversation with other data."""
        return b"%b%d%b%b%b" % (self.before, len(data), self.sign, data, self.after)


@held_in_time
def skips_what_it_refuses(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """What comes behind the refused part of a line, or of data, that is too long is not taken for messages.

    A client may have others write the data, and so have them write messages. A right handler reads over the rest, or
    ends the request. At each `Until` of the conversation the property sends as many letters as that takes, and a line
    of the conversation behind them: it is the end of one line, so it must not be answered like a line of its own. For
    data the property looks for data whose length ends the line before, and that ends as a line does. It makes the data
    longer: of letters, and of lines of the conversation. The handler must not answer the lines where it does not answer
    one of them; twice as many have twice the answers. A line with such a length that is answered like one without a
    number is not understood, and has no data.

    A message that is refused is not answered too. The property changes bytes of the first messages: the output may not
    be that for the right one behind an error, if other changes show that the error may come alone; nor, if one letter
    of a word differs, that with the other word behind what begins as errors do. So it is with the last bytes of a
    packet, such as a token: not each change of one of them may have the right answer behind the same error.

    Nor are the bytes that are left of a binary message that is refused the beginning of the next one. Behind a length
    that counts the rest of the message, the handler may not hold some, as many for almost any value of one byte, where
    it waits for the next message.

    >>> from handlers.services import Echo
    >>> skips_what_it_refuses(Echo, b"put 5\\r\\nhello\\r\\nget\\r\\n")
    """
    tried = Tried(kind, conversation, world)
    for before, message in _messages(tried):
        _refuse_answered(tried, before, message)
        if not tried.packets and BINARY.search(message):
            _refuse_left(tried, before, message)
    if tried.packets:
        for place in range(min(SPOTS, len(tried.pieces))):
            _refuse_answered_packet(tried, place)
        return
    limits = {border.wait: border for border in borders_of(tried) if isinstance(border.wait, Until)}
    for border in list(limits.values())[:SPOTS]:
        for line in _lines(tried.pieces[0]):
            _refuse_rest(tried, border, line)
    for counted in list(_counted(tried.pieces[0]))[:SPOTS]:
        for line in _lines(tried.pieces[0]):
            _refuse_messages(tried, counted, line)
    for begin in firsts_of(tried)[:SPOTS]:
        for counted in list(_alone(tried))[:SPOTS]:
            _refuse_out_of_place(tried, counted, begin)


def _refuse_answered(tried: Tried, before: list[bytes], message: bytes) -> None:
    """Fail if a message that is refused is answered all the same."""
    begun = bytes_of(played(tried, before))

    def answer_to(piece: bytes) -> bytes:
        return bytes_of(played(tried, [*before, piece]))[len(begun) :]

    if not (right := answer_to(message)):
        return
    answers = {changed: answer_to(changed) for changed in _changed(message)}
    refusals = {answer[:1] for answer in answers.values()} - {right[:1], b""}
    for changed, echoed in _renamed(message, right) if refusals else ():
        answer = answer_to(changed)
        error = answer.removesuffix(echoed)
        if error != answer and error[:1] in refusals:
            _fail_answered(tried, [*before, changed], error, echoed)
    for changed, answer in answers.items():
        error = answer.removesuffix(right)
        if not error or error == answer or right in error:
            continue
        if b"\n" in changed[:-1] and answer_to(changed[:-1]):  # its lines are messages now
            continue
        if any(answer_to(worse) == error for worse in _changed(changed)):
            _fail_answered(tried, [*before, changed], error, right)


def _renamed(message: bytes, right: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The message with one other letter in a word that its answer has too, and that answer with the other word."""
    for match in _WORD.finditer(message[:BYTES]):
        for at in range(match.start(), match.end()):
            if message[at : at + 1].isalpha() and match[0] in right:
                changed = message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]
                yield changed, right.replace(match[0], changed[match.start() : match.end()])


def _fail_answered(tried: Tried, pieces: list[bytes], error: bytes, answer: bytes) -> NoReturn:
    run = played(tried, pieces)
    got = f"b''.join({run.output_code()})" if tried.packets else run.output_code()
    fault = f"it answers {literal(error)} to a message that it refuses, and then answers it: return after that"
    fail(tried, fault, "what_it_refuses", f"{run.code()}\nassert not {got}.endswith({literal(answer)})")


def _refuse_left(tried: Tried, before: list[bytes], message: bytes) -> None:
    """Fail if bytes are left of a binary message that is refused, as many whatever a byte of it is."""
    begun = len(played(tried, before).output)
    for at in filter(partial(_is_counted, message), range(min(len(message), BYTES))):
        left: list[int] = []
        for value in VALUES:
            run = Run(tried)
            for piece in [*before, message[:at] + bytes([message[at] ^ value]) + message[at + 1 :]]:
                run.step(piece)
            run.drain()
            if not (run.over or run.finished) and is_between(run) and len(run.output) > begun:
                left.append(run.machine.held_in)
            run.close()
        if len(left) > ALMOST and left.count(left[-1]) > ALMOST and left[-1]:
            fault = (
                f"it answers {literal(run.output[begun:])} to a message that it refuses, and takes the {left[-1]} "
                "bytes that are left of it for the next one: read over them, or end the request"
            )
            fail(tried, fault, "what_it_refuses", f"{run.code()}\nassert machine.held_in == 0")


def _is_counted(message: bytes, at: int) -> bool:
    """Whether a binary length before this byte counts all that follows it: then it tells where the message ends."""
    return any(
        int.from_bytes(message[start : start + size], order) == len(message) - start - size
        for size in (2, 4)
        for start in range(at - size + 1)
        for order in ("big", "little")
    )


def _messages(tried: Tried) -> list[tuple[list[bytes], bytes]]:
    """The first messages, each with what comes before it; where none are known, all of the conversation."""
    data = tried.pieces[0] if tried.pieces else b""
    firsts = firsts_of(tried)
    spans = list(pairwise(firsts))[:SPOTS]
    return [([data[:begin]] if begin else [], data[begin:end]) for begin, end in spans] or [([], data)]


def _refuse_answered_packet(tried: Tried, place: int) -> None:
    """Fail if a packet is refused for each change of its last bytes, such as a token, and answered all the same."""
    before, packet = tried.pieces[:place], tried.pieces[place]
    told = len(played(tried, before).output)
    right = played(tried, [*before, packet]).output[told:]
    if len(packet) < LAST or not right:
        return
    changed = [
        packet[:at] + bytes([packet[at] ^ bits]) + packet[at + 1 :]
        for at in range(len(packet) - LAST, len(packet))
        for bits in BITS
    ]
    answers = [played(tried, [*before, other]).output[told:] for other in changed]
    error = answers[0][: -len(right)]
    if error and error[-len(right) :] != right and all(answer == [*error, *right] for answer in answers):
        run = played(tried, [*before, changed[0]])
        fault = f"it answers {literal(error[0])} to a packet that it refuses, and then answers it: return after that"
        code = f"{run.code()}\nassert ({run.output_code()})[-{len(right)}:] != {literal(right)}"
        fail(tried, fault, "what_it_refuses", code)


def _changed(piece: bytes) -> Iterator[bytes]:
    """The piece with one other byte, for each of its first bytes."""
    for at in range(min(len(piece), BYTES)):
        for bits in BITS:
            yield piece[:at] + bytes([piece[at] ^ bits]) + piece[at + 1 :]


def _counted(piece: bytes) -> Iterator[Counted]:
    for match in _COUNT.finditer(piece):
        end = match.end() + int(match[1])
        is_last = end == len(piece) or piece.startswith(match[2], end)  # else it may be a number of elements
        if match.end() < end and is_last:
            yield Counted(piece[: match.start()], match[2], piece[end:])


def _lines(piece: bytes) -> list[bytes]:
    return list(dict.fromkeys(re.findall(rb"[^\n]+\n", piece)))[:SPOTS]


def _refuse_rest(tried: Tried, border: Border, line: bytes) -> None:
    """Fail if ``line`` behind letters that are one line with it, and too many, is answered like a line of its own."""
    limit: int = border.wait.limit  # type: ignore[attr-defined]
    before = tried.first(border.at)
    steps: tuple[Schedule, ...] = [], [line], [b"a" * limit], [b"a" * limit, line], [b"a" * limit, b"a" + line]
    none, alone, refused, behind, one = (played(tried, [*before, *more]) for more in steps)
    answer, rest = (run.output[len(less.output) :] for run, less in ((alone, none), (behind, refused)))
    if limit <= MOST and answer and rest == answer and one.output != behind.output:
        refused, behind = played(tried, [*before, *steps[2]], name="refused"), played(tried, [*before, *steps[3]])
        got, told = f"{behind.output_code()}[len({refused.output_code()}):]", literal(answer)
        fault = f"it refuses a line that begins with {limit} letters, and takes {literal(line)}, its end, for a line"
        fail(tried, fault, "what_it_refuses", f"{refused.code()}\n{behind.code()}\nassert {got} != {told}")


def _refuse_messages(tried: Tried, counted: Counted, line: bytes) -> None:
    if _more(tried, counted, line, 1):  # so many are not refused
        return
    for size in SIZES:
        times = size // len(line)
        if times and _is_understood(tried, counted, len(line) * times) and _are_answered(tried, counted, line, times):
            plain = played(tried, [counted.filled(b"a" * len(line) * times), END], name="plain")
            run = played(tried, [counted.filled(line * times), END])
            fault = f"it refuses {len(line) * times} bytes of data, and takes {literal(line)} in them for messages"
            code = (
                f"{plain.code()}\n{run.code()}\nassert len({run.output_code()}) < len({plain.output_code()}) + {times}"
            )
            fail(tried, fault, "what_it_refuses", code)


def _alone(tried: Tried) -> Iterator[Counted]:
    """Messages of a line that ends with the length of data, and of these; maybe with the end of a line behind them.

    A number is no length if there is an answer although it says that more data come.
    """
    data = tried.pieces[0]
    for begin, end in pairwise(firsts_of(tried)):
        message = data[begin:end]
        for match in islice(_COUNT.finditer(message), 1):
            length, number, sign = len(message) - match.end(), int(match[1]), match[2]
            if b"\n" not in message[: match.start()] and number in (length, length - len(sign)):
                longer = message[: match.start()] + b"%d" % (number + MORE) + message[match.end(1) :]
                begun = tried.first(begin)
                none, right, less = (played(tried, [*begun, *said]).output for said in ([], [message], [longer]))
                if none == less != right:
                    yield Counted(message[: match.start()], sign, b"" if number == length else sign)


def _refuse_out_of_place(tried: Tried, counted: Counted, begin: int) -> None:
    """Fail if a line with the length of data is refused where this message begins, and the data are messages then."""
    before = tried.first(begin)

    def answer_to(data: bytes) -> bytes:
        output: bytes = played(tried, [*before, data]).output
        return output[len(plain) :]

    plain = played(tried, before).output
    other = answer_to(counted.before + b"x" + counted.sign)
    for line in _lines(tried.pieces[0]):
        answer = answer_to(line)
        told = [counted.filled((line * times).removesuffix(counted.after)) for times in (1, 2, 3)]
        once, twice, thrice = map(answer_to, told)
        refusal = once.removesuffix(answer)
        is_refused = answer and refusal and refusal != once and refusal != other
        if is_refused and len(thrice) - len(twice) == len(twice) - len(once) == len(answer):
            run = played(tried, [*before, told[-1]])
            fault = (
                f"it refuses {literal(told[0].removesuffix(line))}, and takes the data behind it for messages: read "
                "over them, or end the request"
            )
            code = f"{run.code()}\nassert not {run.output_code()}.endswith({literal(answer * 3)})"
            if thrice.endswith(answer * 3):
                fail(tried, fault, "what_it_refuses", code)


def _is_understood(tried: Tried, counted: Counted, length: int) -> bool:
    """Whether the line with this length is not answered as one is that has no number there."""
    told, other = (counted.before + said + counted.sign for said in (b"%d" % length, b"x" * len(str(length))))
    return bool(played(tried, [told]).output != played(tried, [other]).output)


def _are_answered(tried: Tried, counted: Counted, line: bytes, times: int) -> bool:
    """Whether each of the lines is answered. One answer may refuse all of them, in other words than the letters."""
    more = _more(tried, counted, line, times)
    return more >= times and _more(tried, counted, line, 2 * times) - more >= times


def _more(tried: Tried, counted: Counted, line: bytes, times: int) -> int:
    """How many bytes more the answer to lines is than that to as many letters, without what it has of them."""
    lines, letters = line * times, b"a" * len(line) * times
    run, plain = (played(tried, [counted.filled(data), END]) for data in (lines, letters))
    if run.error is not None or plain.error is not None:
        return 0
    return len(run.output.replace(lines, b"")) - len(plain.output.replace(letters, b""))
