"""The work of the wait `Ran`: another program in a child process, with a pipe for each of its standard streams."""

from __future__ import annotations

import errno
import os
import signal
from selectors import EVENT_READ, EVENT_WRITE

from ..handlers.programs import Finished, Ran
from ..loop.descriptors import listing
from ..loop.kernel import AGAIN
from ..table.work import does
from .jobs import ChildJob

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..loop.watches import Watch
    from ..table.request import Request

PIECE = 65_536
"""Bytes that are read or written at once."""


def keep_from_program() -> None:
    """The program inherits no descriptor from 3 on, such as a socket that systemd has passed to this process."""
    table = listing()
    for number in range(min(os.sysconf("SC_OPEN_MAX"), 65_536)) if table is None else map(int, os.listdir(table)):
        if number > 2:
            try:
                os.set_inheritable(number, False)
            except OSError:
                pass  # it is not open any more: that of listdir()


@does(Ran)
class RunningProgram(ChildJob):
    """A child that has become the program; its output is collected until it has ended."""

    wait: Ran

    def __init__(self, row: Request, wait: Ran) -> None:
        super().__init__(row, wait)
        self._left = memoryview(wait.input)
        self._written: dict[int, bytearray] = {}  # by descriptor: what has come of the output and of the errors
        self._watches: dict[int, Watch] = {}  # by descriptor, of this process's ends of the pipes

    def begin(self) -> None:
        pipes = self._fork(3)
        (its_input, input_), (output, its_output), (errors, its_errors) = pipes
        if self._pid == 0:
            self._become((its_input, its_output, its_errors))
        for end in (its_input, its_output, its_errors):
            os.close(end)
        self._written = {output: bytearray(), errors: bytearray()}
        ends = [input_, output, errors]
        try:
            self._attach(ends.pop(0), EVENT_WRITE, lambda _: self._write(input_))
            self._attach(ends.pop(0), EVENT_READ, lambda _: self._read(output))
            self._attach(ends.pop(0), EVENT_READ, lambda _: self._read(errors))
        except BaseException:  # the selector takes no more descriptors, or none with so high a number
            for end in ends:
                os.close(end)
            self.cancel()
            raise

    def _become(self, ends: tuple[int, int, int]) -> None:
        """In the child: become the program. Never returns."""
        try:
            import fcntl  # here, for there is none where there is no fork

            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # which Python ignores
            moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3) for end in ends]
            for number, end in enumerate(moved):
                os.dup2(end, number)
                os.close(end)  # so that the descriptors can be listed
            keep_from_program()
            program, environment = self.wait.program, self.wait.environment
            os.execvpe(program[0], program, os.environ if environment is None else environment)
        except OSError as error:
            self.row.reactor.children.tell(b"%d" % (error.errno or errno.EIO))
        except BaseException:
            self.row.reactor.children.tell(b"%d" % errno.EINVAL)
        finally:
            os._exit(127)

    def _attach(self, end: int, events: int, call: Callable[[int], object]) -> None:
        os.set_blocking(end, False)
        try:
            self._watches[end] = self.row.reactor.watch(end, events, call)
        except BaseException:
            os.close(end)
            raise

    def _write(self, end: int) -> None:
        try:
            while self._left:
                self._left = self._left[os.write(end, self._left[:PIECE]) :]
        except AGAIN:
            return
        except OSError:
            pass  # the program reads no more
        self._detach(end)

    def _read(self, end: int) -> bool:
        """Read once. Returns whether more may come."""
        try:
            piece = os.read(end, PIECE)
        except AGAIN:
            return False
        self._written[end] += piece
        if piece and self._size() <= self.wait.limit:
            return True
        self._detach(end)
        if piece:
            self._close()
            self.row.reactor.children.kill(self._pid)
        return False

    def _exited(self, status: int | None, words: bytes) -> None:
        self._pid = 0
        for end in self._written:
            while end in self._watches and self._read(end):
                pass  # the last bytes may still be in the pipe
        self._close()
        if words:
            number = int(words)
            self.failed(OSError(number, os.strerror(number), self.wait.program[0]))
        elif self._size() > self.wait.limit:
            self.failed(OverflowError(f"the program has written more than {self.wait.limit} bytes"))
        else:
            code = 0 if status is None else os.waitstatus_to_exitcode(status)
            self.done(Finished(code, *map(bytes, self._written.values())))

    def _size(self) -> int:
        return sum(map(len, self._written.values()))

    def close_copy(self) -> None:
        for end in self._watches:
            os.close(end)

    def _detach(self, end: int) -> None:
        watch = self._watches.pop(end, None)
        if watch is not None:
            watch.cancel()
            os.close(end)

    def _close(self) -> None:
        for end in list(self._watches):
            self._detach(end)
