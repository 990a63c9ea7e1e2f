"""A Telnet handler that works on each line."""

from handlers import Delay
from handlers.telnet import IP, Telnet


class Job(Telnet):
    """Works for a minute on each line, until Interrupt Process comes."""

    def line(self, line):
        return Delay(60), self.done

    def done(self, _):
        self.send_line(b"done")
        return self.next_line()

    def command(self, code):
        if code != IP:
            return None
        self.send_line(b"interrupted")
        return self.next_line()
