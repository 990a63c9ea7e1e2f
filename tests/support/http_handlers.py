"""Handlers derived from `HTTPHandler`, and their answers over bytes in memory."""

from http.client import HTTPResponse
from io import BytesIO

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


def responses_in(answers, methods=("GET",) * 9):
    """Each response of the stream as ``http.client`` reads it: the status, the content, and whether it says close."""
    reader, found = BytesIO(answers), []

    class Connected:
        def makefile(self, mode):
            return Unclosed(reader)

    for method in methods:
        if reader.tell() == len(answers):
            break
        response = HTTPResponse(Connected(), method=method)
        response.begin()
        found.append((response.status, response.read(), response.getheader("Connection")))
    return found


class Unclosed:
    """The reader, which a response that has been read does not close."""

    def __init__(self, reader):
        self.read, self.readline, self.readinto, self.flush = (
            reader.read, reader.readline, reader.readinto, lambda: None
        )  # fmt: skip

    def close(self):
        pass


def statuses(answers):
    return [status for status, _, _ in responses_in(answers)]
