"""Steps that are made and dropped, and steps that are not."""

import subprocess
import time
from time import sleep

from handlers import Delay, StreamHandler, StreamRequestHandler, Threaded, Until
from tests.testing.reading.specimens.marks import LINE, right, wrong


async def elsewhere():
    await LINE


@wrong("the step (LINE, self.line) is dropped: return it")
class ForgottenReturn(StreamHandler):
    def handle(self):
        return LINE, self.line

    def line(self, data):
        self.send(data)
        LINE, self.line  # here  # noqa: B018


@wrong(
    "the step that self.handle() returns is dropped: return it, or write `return None` behind it to end",
    "the wait Until(b'.', limit=80) is dropped: return it with the next state",
)
class ForgottenReturns(StreamHandler):
    def handle(self):
        return LINE, self.line

    def line(self, data):
        if data:
            self.handle()  # here
        else:
            Until(b".", limit=80)  # here


@wrong(
    "the coroutine self.helper() never runs: await it, or return it as the next step",
    "the coroutine elsewhere() never runs: await it, or return it as the next step",
    "the wait Until(b'.', limit=80) is dropped: await it",
    "the wait self.end is dropped: await it",
)
class ForgottenAwaits(StreamHandler):
    end = LINE

    async def handle(self):
        self.helper()  # here
        elsewhere()  # here
        Until(b".", limit=80)  # here
        self.end  # here  # noqa: B018
        await self.helper()

    async def helper(self):
        await self.end


class Helps(StreamHandler):
    async def helper(self):
        await LINE


@wrong("the coroutine super().helper() never runs: await it, or return it as the next step")
class ForgottenAwaitOfTheBase(Helps):
    async def handle(self):
        await self.helper()

    async def helper(self):
        super().helper()  # here


@wrong("the step that self.handle() returns is dropped: return it, or write `return None` behind it to end")
class ForgottenReturnOfAStepElsewhere(StreamHandler):
    def handle(self):
        return self.greeted() if self.secured else self.begin()

    def greeted(self):
        return self.begin()

    def begin(self):
        return LINE, self.line

    def line(self, data):
        self.send(data)
        self.handle()  # here


@wrong(
    "time.sleep(1) blocks every other request: wait for Delay",
    "subprocess.run(['true'], check=False) blocks every other request: wait for Threaded with this function",
)
class Blocks(StreamHandler):
    def handle(self):
        return LINE, self.line

    def line(self, data):
        time.sleep(1)  # here
        subprocess.run(["true"], check=False)  # here
        return LINE, self.line


@wrong("sleep(0.1) blocks every other request: wait for Delay")
class BlocksInACoroutine(StreamHandler):
    async def handle(self):
        sleep(0.1)  # here
        await LINE


@right
class WorksElsewhere(StreamHandler):
    """What a thread does may block, and so may a function that is only defined."""

    async def handle(self):
        await Threaded(self.work, timeout=5)
        await Threaded(lambda: time.sleep(1), timeout=5)
        await Delay(1)

    def work(self):
        time.sleep(1)


@right
class NothingForgotten(StreamHandler):
    """A statement that is a string, a call without a step, or a name of its own is none of these."""

    async def handle(self):
        "A string."
        self.note()
        elsewhere = print
        elsewhere()
        await self.helper()
        helping = self.helper()
        await helping
        self.state(await LINE)

    def state(self, data):
        self.send(data)
        return LINE, self.state

    async def helper(self):
        return await LINE

    def note(self):
        return self.principal

    def later(self):
        self.next = LINE, self.note
        return self.maybe() and self.helper()

    def maybe(self):
        if self.principal:
            return None
        return LINE, self.note


@right
class Blocking(StreamRequestHandler):
    request = LINE

    def handle(self):
        self.rfile.readline()
