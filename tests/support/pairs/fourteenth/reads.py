"""Effects of how a read was cut."""

import re

from tests.support.pairs.pair import Buffered, Malformed, Pair

READ, WRITE, WRITE_MANY = 3, 6, 16


class RightModbus(Buffered):
    """Modbus TCP: 64 holding registers, which are those of the connection."""

    longest = 260

    def setup(self):
        super().setup()
        self.registers = [0] * 64

    def take(self):
        while len(self.buffer) >= 7:
            protocol, length = int.from_bytes(self.buffer[2:4], "big"), int.from_bytes(self.buffer[4:6], "big")
            if protocol or not 2 <= length <= self.longest - 6:
                raise Malformed("header")
            if len(self.buffer) < 6 + length:
                break
            adu = bytes(self.buffer[: 6 + length])
            del self.buffer[: 6 + length]
            self.answer(adu[:4], adu[6:7], adu[7:])
        return True

    def answer(self, begin, unit, pdu):
        result = self.result(pdu[0], pdu[1:])
        if isinstance(result, int):
            result = bytes([pdu[0] | 0x80, result])
        self.send(begin + (1 + len(result)).to_bytes(2, "big") + unit + result)

    def result(self, function, data):
        """The PDU of the answer, or the code of an exception."""
        if function not in (READ, WRITE, WRITE_MANY):
            return 1
        if len(data) < 4 or (function != WRITE_MANY and len(data) != 4):
            return 3
        at, value = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
        if function == WRITE:
            return self.write(at, [value]) or bytes([function]) + data
        if function == READ:
            if not 1 <= value <= 125:
                return 3
            if at + value > len(self.registers):
                return 2
            words = b"".join(register.to_bytes(2, "big") for register in self.registers[at : at + value])
            return bytes([function, len(words)]) + words
        if not 1 <= value <= 123 or len(data) != 5 + 2 * value or data[4] != 2 * value:
            return 3
        values = [int.from_bytes(data[place : place + 2], "big") for place in range(5, len(data), 2)]
        return self.write(at, values) or bytes([function]) + data[:4]

    def write(self, at, values):
        if at + len(values) > len(self.registers):
            return 2
        self.registers[at : at + len(values)] = values
        return 0


class Modbus(RightModbus):
    def take(self):
        if len(self.buffer) > self.longest:
            raise Malformed("more than the longest message")
        return super().take()


KEY = re.compile(rb"(?:[!-$&-~]|%[0-9A-F]{2}){1,128}")
ESCAPED = re.compile(rb"%([0-9A-F]{2})")


class RightTable(Buffered):
    """The tcp_table protocol of Postfix: get and put, of up to 32 entries."""

    longest = 512

    def setup(self):
        super().setup()
        self.entries = {b"postmaster": b"ada@example.org"}

    def take(self):
        for line in self.whole(b"\n"):
            try:
                request = self.parsed(line)
            except Malformed as malformed:
                return self.refuse(malformed)
            self.send(self.answer(*request))
        if len(self.buffer) > self.longest:
            return self.refuse("the line is too long")
        return True

    def refuse(self, why):
        self.send(b"400 %b\n" % str(why).replace(" ", "%20").encode())
        return False

    def parsed(self, line):
        """The words of a line."""
        if len(line) > self.longest:
            raise Malformed("the line is too long")
        words = line.split(b" ")
        if (words[0], len(words)) not in ((b"get", 2), (b"put", 3)):
            raise Malformed("no such command")
        if not all(map(KEY.fullmatch, words[1:])):
            raise Malformed("no such key or value")
        return [ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), word) for word in words]

    def answer(self, verb, key, value=b""):
        if verb == b"put":
            if key not in self.entries and len(self.entries) == 32:
                return b"500 the%20table%20is%20full\n"
            self.entries[key] = value
            return b"200 ok\n"
        if key not in self.entries:
            return b"500 no%20such%20entry\n"
        return b"200 %b\n" % re.sub(rb"[^!-$&-~]", lambda found: b"%%%02X" % found[0][0], self.entries[key])


class Table(RightTable):
    def take(self):
        try:
            requests = [self.parsed(line) for line in self.whole(b"\n")]
            if len(self.buffer) > self.longest:
                raise Malformed("the line is too long")
        except Malformed as malformed:
            return self.refuse(malformed)
        for request in requests:
            self.send(self.answer(*request))
        return True


CAPABILITIES, WATCHDOG, DISCONNECT = 257, 280, 282
RESULT, ORIGIN_HOST, ORIGIN_REALM = 268, 264, 296
SUCCESS, UNSUPPORTED, UNKNOWN_PEER, BAD_LENGTH, MISSING = 2001, 3001, 3010, 5014, 5005


class RightDiameter(Buffered):
    """The base protocol of Diameter (RFC 6733), from the first request of a peer to its last."""

    longest = 2048

    def setup(self):
        super().setup()
        self.peer_name = None

    def take(self):
        while len(self.buffer) >= 20:
            length = int.from_bytes(self.buffer[1:4], "big")
            if self.buffer[0] != 1 or not 20 <= length <= self.longest or length % 4:
                raise Malformed("header")
            if len(self.buffer) < length:
                break
            message = bytes(self.buffer[:length])
            del self.buffer[:length]
            if message[4] & 0xAF != 0x80:
                raise Malformed("no request")
            if not self.request(message[4:20], int.from_bytes(message[5:8], "big"), message[20:]):
                return False
        return True

    def request(self, head, code, data):
        """Answer a request. Whether the peer may send more."""
        if code not in (CAPABILITIES, WATCHDOG, DISCONNECT):
            return self.unsupported(head)
        try:
            found = self.pairs(data)
        except Malformed:
            return self.answer(head, BAD_LENGTH, False)
        if not found.get(ORIGIN_HOST) or not found.get(ORIGIN_REALM):
            return self.answer(head, MISSING, False)
        if code == CAPABILITIES:
            self.peer_name = found[ORIGIN_HOST]
        elif found[ORIGIN_HOST] != self.peer_name:
            return self.answer(head, UNKNOWN_PEER, False)
        return self.answer(head, SUCCESS, code != DISCONNECT)

    def unsupported(self, head):
        return self.answer(head, UNSUPPORTED, True)

    def pairs(self, data):
        """The attributes by their codes, the first of each."""
        found, at = {}, 0
        while at < len(data):
            code, length = int.from_bytes(data[at : at + 4], "big"), int.from_bytes(data[at + 5 : at + 8], "big")
            begin = 12 if data[at + 4 : at + 5] >= b"\x80" else 8
            if length < begin or at + length > len(data):
                raise Malformed("length")
            if begin == 8:
                found.setdefault(code, data[at + 8 : at + length])
            at += (length + 3) // 4 * 4
        return found

    def answer(self, head, result, is_open):
        flags = head[0] & 0x40 | 0x20 * (3000 <= result < 4000)
        pairs = _attribute(RESULT, result.to_bytes(4, "big"))
        pairs += _attribute(ORIGIN_HOST, b"lap.example.org") + _attribute(ORIGIN_REALM, b"example.org")
        self.send(b"\x01" + (20 + len(pairs)).to_bytes(3, "big") + bytes([flags]) + head[1:] + pairs)
        return is_open


class Diameter(RightDiameter):
    def unsupported(self, head):
        self.buffer.clear()
        return super().unsupported(head)


def _attribute(code, data):
    length = 8 + len(data)
    return code.to_bytes(4, "big") + b"\x40" + length.to_bytes(3, "big") + data + bytes(-length % 4)


def _adu(number, pdu):
    return number.to_bytes(2, "big") + b"\0\0" + (len(pdu) + 1).to_bytes(2, "big") + b"\x11" + pdu


def _request(code, number, *more):
    pairs = _attribute(ORIGIN_HOST, b"mme.example.org") + _attribute(ORIGIN_REALM, b"example.org") + b"".join(more)
    end = number.to_bytes(4, "big") * 2
    return b"\x01" + (20 + len(pairs)).to_bytes(3, "big") + b"\x80" + code.to_bytes(3, "big") + bytes(4) + end + pairs


PAIRS = [
    # Fault: the bound of a message is held against all that has come, so several messages in one read pass it.
    Pair(
        "modbus-registers", 6, Modbus, RightModbus,
        [
            _adu(1, b"\x03\0\0\0\x04"),
            _adu(2, b"\x06\0\x01\0\x2a"),
            _adu(3, b"\x10\0\x02\0\x02\x04\x12\x34\xab\xcd"),
            _adu(4, b"\x03\0\0\0\x05"),
            _adu(5, b"\x03\0\x3f\0\x02"),
            _adu(6, b"\x2b\x0e\x01\0"),
        ],
        {"kept": 8192},
    ),
    # Fault: all lines of a read are parsed before the first is answered, so an error comes instead of earlier answers.
    Pair(
        "postfix-tcp-table", 6, Table, RightTable,
        [
            b"get postmaster\n",
            b"put abuse ada%20lovelace@example.org\n",
            b"get abuse\n",
            b"get no%20one\n",
            b"put postmaster mary@example.org\n",
            b"get postmaster\n",
        ],
        {"kept": 32_768},
    ),
    # Fault: after a command that is not supported, what has come behind it in the same read is thrown away.
    Pair(
        "diameter-base", 6, Diameter, RightDiameter,
        [
            _request(CAPABILITIES, 1, _attribute(257, b"\0\x01\x0a\0\0\x01"), _attribute(266, bytes(4))),
            _request(WATCHDOG, 2),
            _request(WATCHDOG, 3, _attribute(278, b"\x65\x5f\x3c\x10")),
            _request(DISCONNECT, 4, _attribute(273, bytes(4))),
        ],
        {"kept": 4096},
    ),
]  # fmt: skip
