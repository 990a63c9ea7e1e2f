"""Pairs of kind 7: a deadline that does not hold."""

import hmac
import re

from handlers import Delay, FirstOf, LimitPassed, Some, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import Malformed, Pair

# Simple File Transfer Protocol


class SimpleFiles(StreamHandler):
    """Files are stored and fetched: the Simple File Transfer Protocol (RFC 913), port 115.

    A command, and an answer, ends with NUL. STOR and RETR are each followed by a second command, SIZE or SEND; the
    bytes of a file come as they are. The files are those of the session.
    """

    timeout = 30
    request_timeout = 60  # for one command, with the file that follows it, and for the login
    command = Until(b"\0", limit=128)
    most_files, largest = 8, 8192
    words = re.compile(rb"([A-Z]{4})(?: ([!-~]{1,64}(?: [!-~]{1,64})?))?\0")
    size = re.compile(rb"0|[1-9][0-9]{0,5}")
    name = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}")

    def setup(self):
        self.files, self.user = {}, None

    async def handle(self):
        self.send(b"+archive.example.org SFTP Service\0")
        while True:
            name, told = self.parsed(await self.command)
            if name == b"DONE" and told is None:
                self.send(b"+archive.example.org closing connection\0")
                return
            if name == b"USER" and told in (b"ada", b"alan"):
                self.user = told
                self.send(b"!%b logged in\0" % told)
            elif name in (b"USER", b"") or self.user is None:
                self.send(b"-Unknown command\0" if self.user else b"-Log in, please: USER\0")
            elif name == b"STOR":
                await self.store(told)
            elif name == b"RETR":
                await self.fetch(told)
            else:
                self.send(self.answer(name, told))
            self.one_by_one += self.user is not None

    def parsed(self, line):
        found = self.words.fullmatch(line)
        return (found[1], found[2]) if found else (b"", None)

    def answer(self, name, told):
        if name == b"TYPE" and told in (b"A", b"B", b"C"):
            return b"+Using %b mode\0" % {b"A": b"Ascii", b"B": b"Binary", b"C": b"Continuous"}[told]
        if name == b"LIST" and told in (b"F", b"V"):
            sizes = (b" %d" % len(held) if told == b"V" else b"" for held in self.files.values())
            lines = (b"%b%b\r\n" % line for line in zip(self.files, sizes, strict=True))
            return b"+PS: <%b>\r\n%b\0" % (self.user, b"".join(lines))
        if name == b"KILL" and told is not None:
            known = self.files.pop(told, None)
            return b"-Not deleted, no such file\0" if known is None else b"+%b deleted\0" % told
        return b"-Unknown command\0"

    async def store(self, told):
        kind, _, file = (told or b"").partition(b" ")
        is_old = file in self.files
        if kind not in (b"NEW", b"OLD", b"APP") or not self.name.fullmatch(file):
            self.send(b"-Unknown command\0")
            return
        if (kind == b"NEW" and is_old) or (not is_old and len(self.files) == self.most_files):
            self.send(b"-File exists, or there are too many\0")
            return
        does = b"append to" if kind == b"APP" and is_old else b"write over old" if is_old else b"create new"
        self.send(b"+Will %b file\0" % does)
        name, told = self.parsed(await self.command)
        held = self.files.get(file, b"") if kind == b"APP" else b""
        if name != b"SIZE" or not self.size.fullmatch(told or b"") or len(held) + int(told) > self.largest:
            self.send(b"-Aborted, no size, or there is no room\0")
            raise Malformed("size")
        self.send(b"+ok, waiting for file\0")
        taken = bytearray(held)
        left = int(told)
        while left:
            piece = await Some(limit=left)
            self.took()
            taken += piece
            left -= len(piece)
        self.files[file] = bytes(taken)
        self.send(b"+Saved %b\0" % file)

    def took(self):
        """A piece of a file has come."""

    async def fetch(self, file):
        held = self.files.get(file)
        if held is None:
            self.send(b"-File doesn't exist\0")
            return
        self.send(b"%d\0" % len(held))
        name, told = self.parsed(await self.command)
        if told is None and name == b"SEND":
            self.send(held)
        else:
            self.send(b"+ok, RETR aborted\0" if (name, told) == (b"STOP", None) else b"-SEND or STOP\0")

    def interrupted(self, cause):
        if isinstance(cause, (LimitPassed, TimedOut)):
            self.send(b"-Command too long\0" if isinstance(cause, LimitPassed) else b"-Too slow\0")


class SimpleFilesAnewForPieces(SimpleFiles):
    """The fault: the time of a command begins anew with each piece of a file that comes.

    A client that sends a byte of a file now and then is never too slow.
    """

    def took(self):
        self.one_by_one += 1


# FSD


class FlightServer(StreamHandler):
    """The pilots of a network of flight simulators: FSD, the protocol of VATSIM and IVAO, port 6809.

    A packet is a line of fields. A pilot logs in with #AP, sends positions, asks for the weather and for a ping. The
    server sends a ping to a pilot that has been silent for a time.
    """

    timeout = 60
    request_timeout = 60  # for the login, and for each packet
    packet = Until(b"\r\n", limit=256)
    silence, most_pings = Delay(30), 2
    members = {b"1001": b"lovelace", b"1002": b"turing"}
    callsign = re.compile(rb"[A-Z0-9_-]{2,10}")
    text = re.compile(rb"[ -~]*\r\n")
    position = re.compile(
        rb"@[NSY]:([A-Z0-9_-]{2,10}):[0-7]{4}:[0-9]{1,2}:-?[0-9]{1,2}\.[0-9]{1,6}:-?[0-9]{1,3}\.[0-9]{1,6}"
        rb":-?[0-9]{1,6}:[0-9]{1,4}:[0-9]{1,10}:-?[0-9]{1,4}"
    )
    weather = {b"EGLL": b"EGLL 121150Z 24010KT 9999 SCT030 12/07 Q1015", b"LFPG": b"LFPG 121200Z 27008KT CAVOK 14/06"}
    errors = {b"2": b"Invalid callsign", b"4": b"Syntax error", b"5": b"Invalid source", b"6": b"Invalid CID/password",
              b"9": b"No such weather profile"}  # fmt: skip

    def setup(self):
        self.call, self.reports = b"unknown", 0

    async def handle(self):
        fields = self.fields(await self.packet)
        if not self.log_in(fields):
            return
        self.one_by_one, pings = 1, 0
        self.opened()
        while True:
            found, line = await FirstOf(self.packet, self.silence)
            if found is self.silence:
                self.ping(pings)
                pings += 1
                continue
            pings = 0
            self.one_by_one += 1
            if not self.take(line, self.fields(line)):
                return

    def ping(self, sent):
        """The pilot has been silent, and has not answered the last pings, ``sent`` in number."""
        if sent == self.most_pings:
            raise TimedOut(self.packet, "no answer to a ping")
        self.send(b"$PISERVER:%b:%d\r\n" % (self.call, sent))

    def fields(self, line):
        return line[:-2].split(b":") if self.text.fullmatch(line) else [b""]

    def fail(self, code, what=b""):
        self.send(b"$ERserver:%b:%b:%b:%b\r\n" % (self.call, code.zfill(3), what, self.errors[code]))

    def log_in(self, fields):
        """#AP(callsign):SERVER:(cid):(password):(rating):(protocol):(simulator):(real name)"""
        if len(fields) != 8 or not fields[0].startswith(b"#AP") or fields[1] != b"SERVER" or fields[5] != b"9":
            self.fail(b"4")
            return False
        if not self.callsign.fullmatch(fields[0][3:]):
            self.fail(b"2")
            return False
        known = self.members.get(fields[2])
        if not hmac.compare_digest(fields[3], known or b"") or known is None:
            self.fail(b"6", fields[2])
            return False
        self.call = fields[0][3:]
        self.send(b"#TMserver:%b:Welcome to the network\r\n" % self.call)
        return True

    def take(self, line, fields):
        """Carry out a packet. Whether the session goes on."""
        kind, source = fields[0][:3], fields[0][3:]
        if kind[:1] == b"@":
            found = self.position.fullmatch(line[:-2])
            if found is None or found[1] != self.call:
                self.fail(b"4" if found is None else b"5")
            else:
                self.reports += 1
            return True
        count = {b"#DP": 2, b"$PI": 3, b"$PO": 3, b"$AX": 4}.get(kind)
        if count != len(fields) or source != self.call:
            self.fail(b"4" if count != len(fields) else b"5")
        elif kind == b"#DP":
            self.send(b"#TMserver:%b:Goodbye after %d reports\r\n" % (self.call, self.reports))
            return False
        elif kind == b"$PI" and fields[1] == b"SERVER":
            self.send(b"$POSERVER:%b:%b\r\n" % (self.call, fields[2]))
        elif kind == b"$AX" and fields[1:3] == [b"SERVER", b"METAR"] and fields[3] in self.weather:
            self.send(b"$ARserver:%b:METAR:%b\r\n" % (self.call, self.weather[fields[3]]))
        elif kind != b"$PO":
            self.fail(b"9" if kind == b"$AX" else b"4")
        return True

    def interrupted(self, cause):
        if isinstance(cause, (LimitPassed, TimedOut)):
            why = b"Too long" if isinstance(cause, LimitPassed) else b"Timeout"
            self.send(b"#TMserver:%b:%b\r\n" % (self.call, why))


class FlightServerPingsForEver(FlightServer):
    """The fault: nobody counts the pings that are not answered.

    The row of a pilot whose host is gone stays, and has a ping every half minute.
    """

    def ping(self, sent):
        self.send(b"$PISERVER:%b:%d\r\n" % (self.call, sent))


# SeedLink

RING = [
    b"%06dD ISK  00BHZKO" % number + (20 * number).to_bytes(8, "big") + bytes(range(number, number + 64)) * 7
    for number in range(1, 5)
]
"""Records of a seismometer, of 512 bytes when they are sent: station ISK, channel BHZ, network KO."""


class Seismograms(StreamHandler):
    """Records of seismometers: a part of SeedLink 3.1, in its mode for several stations, port 18000.

    Lines choose stations and channels. After END the server sends the records of the ring from the number that DATA or
    FETCH has named. After FETCH it ends; after DATA it waits for new records, and takes INFO ID, which clients send to
    show that they are there, and BYE.
    """

    timeout = 30
    request_timeout = 60  # for the lines up to END
    line = Until(b"\r\n", limit=100)
    poll, most_silent = Delay(10), 12
    station = re.compile(rb"STATION ([A-Z0-9]{1,5}) ([A-Z0-9]{1,2})\r\n")
    select = re.compile(rb"SELECT ((?:[A-Z0-9]{2})?[BHLE][HN][ZNE?])\r\n")
    begin = re.compile(rb"(DATA|FETCH)(?: ([0-9A-F]{6}))?\r\n")
    info = b"SLINFO *" + b'<?xml version="1.0"?><seedlink software="SeedLink v3.1" organization="KOERI"/>'.ljust(512)

    def setup(self):
        self.chosen, self.pattern, self.next, self.fetches = False, b"", 1, False

    async def handle(self):
        mistakes = 0
        while (line := await self.line) != b"END\r\n":
            if line == b"BYE\r\n":
                return
            answer = self.answer(line)
            self.send(answer)
            mistakes += answer == b"ERROR\r\n"
            if mistakes == 8:
                raise Malformed("too many mistakes")
        if not self.chosen:
            self.send(b"ERROR\r\n")
            return
        self.one_by_one = 1
        self.opened()
        self.send_records()
        if self.fetches:
            self.send(b"END")
            return
        await self.follow()

    async def follow(self):
        """Send new records until the client has had enough, or shows no more that it is there."""
        silent = 0
        while silent < self.most_silent:
            found, line = await FirstOf(self.line, self.poll)
            if found is self.poll:
                silent += 1
                self.send_records()
                continue
            silent = 0
            self.one_by_one += 1
            if line == b"BYE\r\n":
                return
            self.send(self.info if line == b"INFO ID\r\n" else b"ERROR\r\n")
        raise TimedOut(self.line, "no sign of the client")

    def answer(self, line):
        if line == b"HELLO\r\n":
            return b"SeedLink v3.1 (2020.075)\r\nKOERI\r\n"
        if line == b"INFO ID\r\n":
            return self.info
        found = self.station.fullmatch(line)
        if found is not None:
            self.chosen = (found[1], found[2]) == (b"ISK", b"KO")
            return b"OK\r\n" if self.chosen else b"ERROR\r\n"
        found = self.select.fullmatch(line)
        if found is not None and self.chosen:
            self.pattern = found[1][-3:].replace(b"?", b"Z")
            return b"OK\r\n"
        found = self.begin.fullmatch(line)
        if found is not None and self.chosen:
            self.fetches = found[1] == b"FETCH"
            self.next = int(found[2], 16) if found[2] else 1
            return b"OK\r\n"
        return b"ERROR\r\n"

    def send_records(self):
        """Send the records of the ring that the client does not have."""
        for number in range(max(self.next, 1), len(RING) + 1):
            if self.pattern in (b"", RING[number - 1][15:18]):
                self.send(b"SL%06X" % number + RING[number - 1].ljust(512))
            self.next = number + 1

    def interrupted(self, cause):
        if isinstance(cause, LimitPassed):
            self.send(b"ERROR\r\n")


class SeismogramsNeverReads(Seismograms):
    """The fault: while it waits for new records it does not read, so it does not notice that the client has left.

    The row of a client that has closed its connection, or is gone, stays for as long as there is no new record.
    """

    async def follow(self):
        while True:
            await self.poll
            self.send_records()


PAIRS = [
    Pair(
        "simple-ftp-store", 7, SimpleFilesAnewForPieces, SimpleFiles,
        [b"USER ada\0", b"TYPE B\0", b"STOR NEW notes.txt\0", b"SIZE 42\0",
         b"Note G: the numbers of Bernoulli, B1 to B7", b"LIST V\0", b"STOR APP notes.txt\0", b"SIZE 6\0", b", B9.\n",
         b"RETR notes.txt\0", b"SEND\0",
         b"KILL notes.txt\0", b"DONE\0"],
        {"kept": 66_560},
    ),
    Pair(
        "fsd-ping", 7, FlightServerPingsForEver, FlightServer,
        [b"#APBAW123:SERVER:1001:lovelace:1:9:2:Ada\r\n", b"@N:BAW123:2200:1:51.47750:-0.46139:83:0:4261412868:12\r\n",
         b"$PIBAW123:SERVER:1700000000\r\n", b"$AXBAW123:SERVER:METAR:EGLL\r\n", b"$POBAW123:SERVER:0\r\n",
         b"@N:BAW123:2200:1:51.47812:-0.48104:912:148:4282384388:10\r\n", b"#DPBAW123:1001\r\n"],
    ),
    Pair(
        "seedlink-follow", 7, SeismogramsNeverReads, Seismograms,
        [b"HELLO\r\n", b"INFO ID\r\n", b"STATION ISK KO\r\n", b"SELECT BH?\r\n", b"DATA 000002\r\n", b"END\r\n"],
    ),
]  # fmt: skip
