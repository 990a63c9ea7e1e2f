"""Pairs of kind 6: what the handler does depends on how the input was cut into reads."""

import re

from handlers import Some, StreamHandler
from tests.support.pairs.pair import Buffered, Malformed, Pair

PIECE = Some(limit=2048)


class Pieces(Buffered):
    """Takes pieces that are small, because a short message may have a long answer."""

    def handle(self):
        return PIECE, self.first

    def more(self, data):
        _, state = super().more(data)
        return PIECE, state


# iTach


class InfraredGateway(Pieces):
    """Sends infrared codes and sets relays for a client: the iTach API 1.5 of Global Caché, port 4998.

    A command is a line that ends with CR. A mistake has an error as its answer; a line that is too long ends the
    connection.
    """

    longest = 1024
    most_pairs = 128
    digits = re.compile(rb"0|[1-9][0-9]{0,5}")
    relay = re.compile(rb"3:([1-3])")
    emitter = re.compile(rb"1:([1-3])")
    modes = (b"IR", b"SENSOR", b"IR_BLASTER")

    def setup(self):
        super().setup()
        self.relays = {b"1": b"0", b"2": b"0", b"3": b"0"}
        self.emitters = {b"1": b"IR", b"2": b"IR", b"3": b"IR"}

    def take(self):
        for line in self.whole(b"\r"):
            if len(line) > self.longest:
                self.refuse()
            self.send(self.answer(*line.split(b",")))
        if len(self.buffer) > self.longest:
            self.refuse()
        return True

    def refuse(self):
        self.send(b"ERR_0:0,001\r")
        raise Malformed("line too long")

    def answer(self, command, *words):
        if command == b"getversion" and not words:
            return b"710-1005-05\r"
        if command == b"getdevices" and not words:
            return b"device,0,0 ETHERNET\rdevice,1,3 IR\rdevice,3,3 RELAY\rendlistdevices\r"
        count = {b"getstate": 1, b"setstate": 2, b"get_IR": 1, b"set_IR": 2, b"stopir": 1}.get(command)
        if command == b"sendir":
            return self.send_code(*words) if len(words) >= 7 else b"ERR_0:0,014\r"
        if count is None:
            return b"unknowncommand,14\r"
        if len(words) != count:
            return b"ERR_0:0,014\r"
        return self.set_state(*words) if command.endswith(b"state") else self.set_mode(command, *words)

    def set_state(self, address, state=None):
        found = self.relay.fullmatch(address)
        if found is None or state not in (None, b"0", b"1"):
            return b"ERR_0:0,%b\r" % (b"002" if found is None else b"021")
        if state is not None:
            self.relays[found[1]] = state
        return b"state,%b,%b\r" % (address, self.relays[found[1]])

    def set_mode(self, command, address, mode=None):
        found = self.emitter.fullmatch(address)
        if found is None or (mode is not None and mode not in self.modes):
            return b"ERR_0:0,%b\r" % (b"002" if found is None else b"019")
        if command == b"stopir":
            return b"stopir,%b\r" % address
        if mode is not None:
            self.emitters[found[1]] = mode
        return b"IR,%b,%b\r" % (address, self.emitters[found[1]])

    def send_code(self, address, *words):
        found = self.emitter.fullmatch(address)
        if found is None:
            return b"ERR_0:0,002\r"
        numbers = [int(word) if self.digits.fullmatch(word) else -1 for word in words]
        identity, frequency, times, offset, *pulses = numbers
        checks = (
            (b"004", 0 <= identity <= 65_535),
            (b"005", 15_000 <= frequency <= 500_000),
            (b"006", 1 <= times <= 50),
            (b"010", len(pulses) % 2 == 0),
            (b"008", len(pulses) <= 2 * self.most_pairs),
            (b"007", offset % 2 == 1 and 1 <= offset < len(pulses)),
            (b"009", all(1 <= pulse <= 65_535 for pulse in pulses)),
            (b"024", self.emitters[found[1]] != b"SENSOR"),
        )
        for error, is_right in checks:
            if not is_right:
                return b"ERR_%b,%b\r" % (address, error)
        return b"completeir,%b,%d\r" % (address, identity)


class InfraredGatewayWholeRead(InfraredGateway):
    """The fault: the limit of a line is held against all that has come, before it is cut into lines.

    Commands that are short, and come together, are refused as a line that is too long.
    """

    def take(self):
        if len(self.buffer) > self.longest:
            self.refuse()
        return super().take()


# Aerospike


class ClusterInfo(Pieces):
    """The info protocol of Aerospike, port 3000: names are asked for, and answered with their values.

    A message has a head of 8 bytes: the version, 2, the type, 1, and the size of what follows in 6. The body has names,
    each of which ends with a line feed; without any it asks for all. A head that is wrong ends the connection.
    """

    head, largest, most_names = 8, 1024, 16
    name = re.compile(rb"[!-~]{1,128}")
    known = {
        b"build": b"6.4.0.1",
        b"edition": b"Aerospike Community Edition",
        b"node": b"BB9020011AC4202",
        b"features": b"batch-index;blob-bits;pipelining;query-show",
        b"namespaces": b"test;bar",
        b"namespace/test": b"objects=42;replication-factor=2;stop-writes=false",
        b"namespace/bar": b"objects=0;replication-factor=1;stop-writes=false",
        b"partition-generation": b"7",
    }
    setting = re.compile(rb"set-config:context=service;(proto-fd-max|ticker-interval)=([1-9][0-9]{0,4})")

    def setup(self):
        super().setup()
        self.settings = {b"proto-fd-max": b"15000", b"ticker-interval": b"10"}

    def take(self):
        while (body := self.message()) is not None:
            self.send(self.framed(self.answer(body)))
        return True

    def message(self):
        """The body of the next message; ``None``: it has not come whole."""
        held = self.buffer
        if len(held) < self.head:
            return None
        size = int.from_bytes(held[2 : self.head], "big")
        if held[0] != 2 or held[1] != 1 or size > self.largest:
            raise Malformed("head")
        if len(held) < self.head + size:
            return None
        body = bytes(held[self.head : self.head + size])
        del held[: self.head + size]
        return body

    def framed(self, body):
        return b"\2\1" + len(body).to_bytes(6, "big") + body

    def answer(self, body):
        if not body:
            return b"".join(b"%b\t%b\n" % item for item in self.known.items())
        if not body.endswith(b"\n"):
            return b"ERROR:4:no end of line\n"
        names = body[:-1].split(b"\n")
        if len(names) > self.most_names:
            return b"ERROR:4:too many names\n"
        if not all(map(self.name.fullmatch, names)):
            return b"ERROR:4:bad name\n"
        return b"".join(b"%b\t%b\n" % (name, self.value(name)) for name in names)

    def value(self, name):
        if name in self.known:
            return self.known[name]
        if name == b"get-config:context=service":
            return b";".join(b"%b=%b" % item for item in self.settings.items())
        found = self.setting.fullmatch(name)
        if found is None:
            return b"ERROR:4:unrecognized command"
        self.settings[found[1]] = found[2]
        return b"ok"


class ClusterInfoAnswersLost(ClusterInfo):
    """The fault: the answers to the messages of one read are collected, and sent when all of it has been taken.

    If a message that comes in the same read has a wrong head, the answers to those before it are never sent.
    """

    def take(self):
        answers = []
        while (body := self.message()) is not None:
            answers.append(self.framed(self.answer(body)))
        self.send(b"".join(answers))
        return True


# DF1

DLE, STX, ETX, ENQ, ACK, NAK = 0x10, 0x02, 0x03, 0x05, 0x06, 0x15


class Controller(StreamHandler):
    """A programmable controller on a full-duplex DF1 link through a serial gateway (Allen-Bradley 1770-6.5.16).

    A message is DLE STX, the data with each DLE doubled, DLE ETX and a check byte. It is answered with DLE ACK and the
    reply, which is a message too, or with DLE NAK; the client acknowledges replies, or asks for them again. What comes
    between messages is noise. A message that comes again is acknowledged, and not carried out.
    """

    timeout = 30
    request_timeout = 30  # for one message
    most, again = 250, 3
    between, escaped, skipping = "between", "escaped", "skipping"
    inside, doubling, check = "inside", "doubling", "check"

    def setup(self):
        self.mode, self.data, self.words = self.between, bytearray(), [0] * 32
        self.said, self.reply, self.asked, self.last = NAK, b"", 0, None

    def handle(self):
        return PIECE, self.first

    def first(self, data):
        return self.rest(data)

    def rest(self, data):
        self.take(data)
        return PIECE, self.first if self.mode is self.between else self.rest

    def take(self, data):
        for byte in data:
            self.byte(byte)

    def byte(self, byte):
        if self.mode is self.inside and byte != DLE:
            self.add(byte)
        elif self.mode is self.doubling:
            self.mode = self.inside if byte == DLE else self.check if byte == ETX else self.skipping
            if byte == DLE:
                self.add(byte)
            elif byte == STX:
                self.begin()
        elif self.mode is self.check:
            self.end(byte)
        elif self.mode is self.escaped:
            self.control(byte)
        elif byte == DLE:
            self.mode = self.doubling if self.mode is self.inside else self.escaped
        elif self.mode is self.between:
            self.mode = self.skipping

    def begin(self):
        self.mode, self.said = self.inside, NAK
        self.data.clear()

    def add(self, byte):
        if len(self.data) <= self.most:
            self.data.append(byte)

    def control(self, byte):
        if byte == STX:
            self.begin()
            return
        self.mode = self.between if byte in (ENQ, ACK, NAK) else self.skipping
        self.one_by_one += self.mode is self.between
        if byte == ENQ:
            self.send(bytes([DLE, self.said]))
        elif byte == ACK:
            self.reply = b""
        elif byte == NAK and self.reply and self.asked < self.again:
            self.asked += 1
            self.send(self.reply)

    def end(self, check):
        """The check byte of a message has come."""
        self.mode = self.between
        self.one_by_one += 1
        data = bytes(self.data)
        is_right = (sum(data) + check) % 256 == 0 and 6 <= len(data) <= self.most
        self.said = ACK if is_right else NAK
        self.send(bytes([DLE, self.said]))
        if not is_right or data[1:6] == self.last or data[2] & 0x40:  # it is wrong, comes again, or is a reply itself
            return
        self.last = data[1:6]  # its source, command, status and transaction
        answer = data[1::-1] + bytes([data[2] | 0x40]) + self.answer(data[2], data[6:7], data[7:], data[4:6])
        self.reply, self.asked = self.framed(answer), 0
        self.send(self.reply)

    def framed(self, data):
        doubled = data.replace(bytes([DLE]), bytes([DLE, DLE]))
        return bytes([DLE, STX]) + doubled + bytes([DLE, ETX, -sum(data) % 256])

    def answer(self, command, function, told, transaction):
        """The status, the transaction and the data of the reply."""
        done = b"\0" + transaction
        if command == 0x06 and function == b"\0":
            return done + told
        if command == 0x06 and function == b"\3" and not told:
            return done + b"\0\xee\x5b\x21" + b"1747-L553".ljust(11)
        if command == 0x0F and function == b"\xa2" and len(told) == 2 and told[0] + told[1] <= len(self.words):
            read = self.words[told[0] : told[0] + told[1]]
            return done + b"".join(word.to_bytes(2, "little") for word in read)
        if command == 0x0F and function == b"\xaa" and len(told) == 3 and told[0] < len(self.words):
            self.words[told[0]] = int.from_bytes(told[1:], "little")
            return done
        return b"\x10" + transaction  # illegal command or format


class ControllerFlushes(Controller):
    """The fault: after a message with a wrong check byte, what has come with it in one read is thrown away.

    Messages behind it get no answer if they come in the same read, and are answered if they come later.
    """

    def take(self, data):
        for byte in data:
            is_end = self.mode is self.check
            self.byte(byte)
            if is_end and self.said == NAK:
                break


def frame(data):
    """The message of DF1 with ``data``."""
    return Controller().framed(data)


def info(*names):
    """The message of Aerospike that asks for ``names``."""
    body = b"".join(name + b"\n" for name in names)
    return b"\2\1" + len(body).to_bytes(6, "big") + body


PAIRS = [
    Pair(
        "itach-commands", 6, InfraredGatewayWholeRead, InfraredGateway,
        [b"getversion\r", b"getdevices\r", b"set_IR,1:2,IR_BLASTER\r", b"get_IR,1:1\r",
         b"sendir,1:1,4,38000,1,1,342,171,21,64,21,21,21,64,21,1518\r",
         b"sendir,1:2,5,40000,2,3,96,24,48,24,24,24,24,1000\r", b"stopir,1:2\r", b"setstate,3:1,1\r",
         b"getstate,3:1\r"],
    ),
    Pair(
        "aerospike-info", 6, ClusterInfoAnswersLost, ClusterInfo,
        [info(b"build", b"node", b"features"), info(), info(b"namespaces"), info(b"namespace/test"),
         info(b"set-config:context=service;ticker-interval=30"), info(b"get-config:context=service")],
    ),
    Pair(
        "df1-check-byte", 6, ControllerFlushes, Controller,
        [frame(b"\1\0\6\0\x10\1\0hello\x10"), b"\x10\6", frame(b"\1\0\6\0\x11\1\3"), b"\x10\6",
         frame(b"\1\0\x0f\0\x12\1\xaa\4\x34\x12"), b"\x10\6", b"\x10\5",
         frame(b"\1\0\x0f\0\x13\1\xa2\3\2"), b"\x10\6"],
    ),
]  # fmt: skip
