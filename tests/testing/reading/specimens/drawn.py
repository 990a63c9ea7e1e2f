"""Correct handlers of every spelling: the diagrams show them, and the linter finds nothing in them."""

from functools import partial

from handlers import (
    DatagramHandler,
    Delay,
    EndOfStream,
    Exactly,
    Flushed,
    Packet,
    Some,
    StreamHandler,
    StreamRequestHandler,
    TimedOut,
    Until,
)


class Reverse(StreamHandler):
    def handle(self):
        return Until(b":", limit=7), self.length

    def length(self, digits):
        return Exactly(int(digits[:-1]) + 1), self.payload

    def payload(self, data):
        self.send(b"%d:%b," % (len(data) - 1, data[-2::-1]))
        return self.handle()


class Password:
    """A mix-in that goes first."""

    prompt = Until(b"\n", limit=80)

    def handle(self):
        self.send(b"password? ")
        return self.prompt, self.check

    def check(self, line):
        return super().handle() if line == b"sesame\n" else None

    def interrupted(self, cause):
        if isinstance(cause, TimedOut):
            return Delay(1), lambda _: self.handle()
        return super().interrupted(cause)


class Secure(Password, Reverse):
    pass


class Winding(StreamHandler):
    """A coroutine with every kind of statement around its awaits."""

    async def handle(self):
        while True:
            kind = await Some(limit=1)
            match kind:
                case b"l":
                    for _ in range(2):
                        if await Exactly(1) == b"!":
                            break
                        await Flushed()
                    else:
                        await Delay(1)
                case b"t":
                    try:
                        await Until(b"\n", limit=3)
                    except ValueError:
                        return None
                    except EndOfStream:
                        await Flushed()
                        raise
                    finally:
                        self.send(b"tried")
                case b"h":
                    await self.help(2)
                case b"c":
                    if (await Exactly(1)) + (await Exactly(1)) == b"ab":
                        continue
                    return Until(b";", limit=9), self.after
                case b"q":
                    break
            with memoryview(kind):
                self.send(await Exactly(1) if kind == b"w" else kind)
        return await self.help(1)

    async def help(self, times):
        for _ in range(times):
            await Exactly(1)

    def after(self, data):
        def further(data):
            self.send(data)
            return Some(), partial(self.last, data)

        return Flushed(), further

    def last(self, data, more):
        return None if more == b"." else self.handle()


class Two(DatagramHandler):
    timeout = 5

    async def handle(self):
        self.send(await Packet())
        self.send(await Packet())


class Finger(StreamRequestHandler):
    request = Until(b"\n", limit=80)

    def handle(self):
        self.wfile.write(self.rfile.readline())
