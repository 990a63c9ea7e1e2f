"""One protocol in four spellings: a length of one byte, then so many bytes."""

from handlers import Exactly, StreamHandler


class Frames(StreamHandler):
    """A length of one byte, then so many bytes."""

    async def handle(self):
        while True:
            length = await Exactly(1)
            self.send(await Exactly(length[0]))


class Generated(Frames):
    """The same with an asynchronous generator."""

    async def frames(self):
        while True:
            length = await Exactly(1)
            yield await Exactly(length[0])

    async def handle(self):
        async for frame in self.frames():
            self.send(frame)


class Awaitable(Frames):
    """The same with an awaitable object."""

    def __await__(self):
        length = yield from Exactly(1).__await__()
        return (yield from Exactly(length[0]).__await__())

    async def handle(self):
        while True:
            self.send(await self)


class OneState(Frames):
    """The same in one state."""

    length = None

    def handle(self):
        return Exactly(1), self.got

    def got(self, data):
        if self.length is None:
            self.length = data[0]
            return Exactly(self.length), self.got
        self.length = None
        self.send(data)
        return self.handle()
