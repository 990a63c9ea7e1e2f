"""Filters of packets that several tests use."""

from handlers import PacketFilter


class Xor(PacketFilter):
    """Changes each byte, in one direction otherwise than in the other: an echo that goes round it is no echo."""

    def received(self, packet):
        self.deliver(xor(packet, 0x55))

    def flow(self, packet):
        self.put(xor(packet, 0x33))


def xor(packet, key):
    return bytes(byte ^ key for byte in packet)


class Halves(PacketFilter):
    """Each packet goes as two; an encoding that packets of the wire are not matched one by one."""

    def begin(self):
        self.half = None
        self.open()

    def received(self, packet):
        if self.half is None:
            self.half = packet
        else:
            self.deliver(self.half + packet)
            self.half = None

    def flow(self, packet):
        self.put(packet[: len(packet) // 2])
        self.put(packet[len(packet) // 2 :])

    @property
    def pending(self):
        return len(self.half or b"")


class Knock(PacketFilter):
    """Opens when ``knock`` has come; what comes before that is for the request too."""

    name = "door"

    def begin(self):
        self.is_open = False
        self.open_until("a knock", timeout=7)

    def received(self, packet):
        if packet == b"knock" and not self.is_open:
            self.is_open = True
            self.put(b"come in")
            self.open()
        else:
            self.deliver(packet)

    def farewell(self):
        self.put(b"bye")
