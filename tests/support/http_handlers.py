"""Handlers derived from `HTTPHandler`, and their answers over bytes in memory."""

from handlers import StreamMachine, World
from handlers.http import HTTPHandler
from tests.support.http import pieces_of, undated
from tests.support.strategies import converse


class Whole(HTTPHandler):
    """Answers with the method, the target and the content, as `tests.support.http.Echo` does."""

    async def respond(self, request, response):
        content = await request.content()
        response.reply(200, f"{request.method} {request.target} ".encode() + content)


class Pieces(HTTPHandler):
    """Echoes the content in pieces, the letters in upper case."""

    async def respond(self, request, response):
        piece = await request.read()
        response.begin(200)
        while piece:
            await response.write(piece.upper())
            piece = await request.read()


def machine_of(handler):
    """The machine that runs the handler; its time stands still."""
    return StreamMachine(handler(), World(("127.0.0.1", 1), now=lambda: 784_111_777.0))


def answers_to(stream, cuts=(), handler=Whole):
    """All that the handler answers to the stream, cut at these offsets."""
    return undated(converse(machine_of(handler), pieces_of(stream, cuts)))
