"""A name server as a handler, with a zone of its own (RFC 1035)."""

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from handlers import DatagramHandler, Packet

ZONE = {
    ("both.example.", "A"): ["192.0.2.1"],
    ("both.example.", "AAAA"): ["2001:db8::1"],
    ("six.example.", "AAAA"): ["2001:db8::6"],
    ("alias.example.", "CNAME"): ["six.example."],
    ("itself.example.", "CNAME"): ["itself.example."],
}


class NameServer(DatagramHandler):
    """Answers from the zone; how is the first label of the name, if it is one of those below."""

    async def handle(self):
        query = dns.message.from_wire(await Packet())
        answer = dns.message.make_response(query)
        name, kind = str(query.question[0].name), query.question[0].rdtype.name
        how = name.partition(".")[0]
        if alias := ZONE.get((name, "CNAME")):
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", *alias))
            name = alias[0]
        if how == "refused":
            answer.set_rcode(dns.rcode.REFUSED)
        elif how == "cut":
            answer.flags |= dns.flags.TC
        elif how == "forged":
            self.send(b"")
            self.send(b"no message at all")
            answer.id ^= 1
        elif how == "flood":
            for _ in range(100):
                self.send(b"flood")
        if found := ZONE.get((name, kind)):
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *found))
        if how not in ("silent", "flood") and (how, kind) != ("half", "AAAA"):
            self.send(answer.to_wire())
