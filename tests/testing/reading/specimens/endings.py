"""Handlers that miss the end of the stream, leave something open, or are hard to read; and correct ones."""

import math
from contextlib import suppress
from dataclasses import dataclass

from handlers import (
    Cause,
    Connected,
    DatagramHandler,
    Delay,
    EndOfStream,
    Flushed,
    Forked,
    LimitPassed,
    Packet,
    Some,
    StreamHandler,
    TimedOut,
    ToEnd,
    Until,
    services,
)
from tests.testing.reading.specimens.marks import LINE, SWALLOWED, WHATEVER, States, right, wrong

# The end of the stream


@wrong(SWALLOWED)
class Swallows(StreamHandler):
    async def handle(self):
        while True:
            try:
                self.send(await Some())
            except EndOfStream:  # here  # noqa: PERF203
                self.send(b"?")


@wrong(SWALLOWED, SWALLOWED, SWALLOWED)
class SwallowsInEachLoop(StreamHandler):
    async def handle(self):
        import itertools

        line = Until(b"\n")
        for _ in itertools.count():
            try:
                self.send(await line)
            except EndOfStream:  # here  # noqa: PERF203
                pass
        while True:
            try:
                self.send(await self.help())
            except (TimedOut, Cause):  # here  # noqa: PERF203
                continue
        while True:
            with suppress(Exception):  # here
                await Some()

    async def help(self):
        return await Some()


@right
class Leaves(StreamHandler):
    async def handle(self):
        going_on = True
        while going_on:
            try:
                await Some()
            except TimedOut:  # noqa: PERF203  # the loop goes on after a cause
                continue
            except EndOfStream:
                going_on = False


@right
class LeavesBehind(StreamHandler):
    async def handle(self):
        while True:
            try:
                data = await Some()
            except EndOfStream as end:
                data = end.partial
            if not data:
                break
        while True:
            line = None
            with suppress(EndOfStream):
                line = await LINE
            if line is None:
                return
            try:
                line = await LINE
            except EndOfStream:
                self.fail()

    def fail(self):
        raise EOFError


@right
class CatchesWhatIsNotTheEnd(StreamHandler):
    async def handle(self):
        for _ in range(3):
            try:
                await Some()
            except EndOfStream:  # noqa: PERF203
                continue
        while True:
            try:
                await Forked(print)
                await ToEnd()
            except Exception:
                self.send(b"?")
            try:
                await Some()
            except EndOfStream:
                raise
            except Cause:
                pass
            try:
                await Some()
            except EndOfStream:
                await Delay(math.inf)  # another row ends this one


@right
class HasNoEnd(DatagramHandler):
    timeout = 5

    async def handle(self):
        while True:
            try:
                await Packet()
            except Exception:  # noqa: PERF203
                return


@wrong(WHATEVER)
class Returns(StreamHandler):
    def handle(self):
        return Some(), self.handle

    def interrupted(self, cause):
        return Some(), self.handle  # here


@wrong(WHATEVER)
class BeginsAgain(States):
    def interrupted(self, cause):
        print(cause) if cause else None
        return self.handle()  # here


@wrong(WHATEVER)
class BeginsAgainLater(States):
    def interrupted(self, cause):
        step = Delay(1), self.again
        match cause:
            case LimitPassed():
                self.send(b"too long")
            case _:
                self.send(b"what?")
        return step  # here

    def again(self, _):
        return self.handle()


@wrong(WHATEVER)
class BeginsItsCoroutineAgain(StreamHandler):
    async def handle(self):
        while True:
            self.send(await LINE)

    def interrupted(self, cause):
        if isinstance(cause, LimitPassed):
            return None
        return self.handle()  # here


@wrong(WHATEVER)
class AsksForEver(States):
    def interrupted(self, cause):
        self.send(b"?")
        return Delay(1), lambda _: self.interrupted(cause)  # here


@right
class Decides(Returns):
    def interrupted(self, cause):
        if isinstance(cause, TimedOut):
            return Some(), self.handle
        return None


@right
class DecidesAgainst(Returns):
    def interrupted(self, cause):
        if not isinstance(cause, (EndOfStream, LimitPassed)):
            return self.handle()
        return super().handle() if isinstance(cause, LimitPassed) else None


@right
class DecidesByCase(Returns):
    def interrupted(self, cause):
        match cause:
            case TimedOut():
                return self.handle()


@right
class Asserts(Returns):
    def interrupted(self, cause):
        assert isinstance(cause, TimedOut)
        return self.handle()


@right
class TriesThrice(Returns):
    tries = 0

    def interrupted(self, cause):
        self.tries += 1
        if self.tries > 3:
            return None
        return self.handle()


@right
class SaysGoodbye(Returns):
    def interrupted(self, cause):
        self.send(b"goodbye")
        return Flushed(), self.gone

    def gone(self, _):
        return Delay(1), lambda _: None


@right
class LeavesItToTheNext(Returns):
    def interrupted(self, cause):
        return StreamHandler.interrupted(self, cause)


@right
class AnswersInACoroutine(StreamHandler):
    async def handle(self):
        await LINE

    async def interrupted(self, cause):
        self.send(b"goodbye")
        await Flushed()


# What is left open


@wrong("the result of open(await Until(b'\\n')) stays open if the request is cut short")
class Opens(StreamHandler):
    async def handle(self):
        file = open(await Until(b"\n"))  # here  # noqa: SIM115
        self.send(await Some() + file.read())


@wrong("the result of open(data) stays open if the request is cut short")
class Keeps(States):
    def take(self, data):
        self.file = open(data)  # here  # noqa: SIM115


@wrong("the result of Connected(('127.0.0.1', 7), services.Echo()) stays open if the request is cut short")
class Connects(StreamHandler):
    async def handle(self):
        other = await Connected(("127.0.0.1", 7), services.Echo())  # here
        other.send(await Some())


@wrong("the handler stays in self.server.members after its request has ended")
class Enters(StreamHandler):
    def handle(self):
        self.server.members.add(self)  # here
        return Some(), self.handle


@right
class Closes(StreamHandler):
    async def handle(self):
        with open(await Until(b"\n")) as file:
            self.send(await Some() + file.read())


@right
class Quits(Enters):
    def finish(self):
        self.server.members.discard(self)


@right
class LeavesInTheEnd(StreamHandler):
    async def handle(self):
        self.server.members.append(self)
        try:
            while await LINE:
                pass
        finally:
            self.server.members.remove(self)


@right
class OpensNothing(States):
    """Its own methods may have such names; a file opened in an expression is closed when the state returns."""

    def take(self, data):
        self.open(data)
        self.send(open(data, "rb").read())  # noqa: SIM115

    def open(self, data):
        pass


# What is hard to read


@right
@dataclass
class Generated(StreamHandler):
    """Has methods without source."""

    lines: int = 0

    def handle(self):
        self.send(b"""
hello
""")
        return LINE, self.line

    line = lambda self, data: self.handle()  # noqa: E731


@right
class Nothing(StreamHandler):
    timeout = 5
