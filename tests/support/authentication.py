"""Users for tests of authentication, and what runs the work of a machine without a reactor."""

from base64 import b64encode

from handlers import Cause, Delay, Elsewhere, Failed, StreamHandler, Until, World
from handlers.auth import Attempts, Credentials, Refused, dummy, hash_password
from handlers.auth.sasl import SASL, External, Plain, decoded
from handlers.auth.scram import Scram, ScramPlus, scram_keys

COST = {"n": 16, "r": 1, "p": 1}
"""A hash that takes no time."""

DUMMY = dummy(**COST)
KEY = bytes(range(32))
PASSWORD = "sesame"
USERS = {
    "ada": Credentials(password=hash_password(PASSWORD, **COST), scram=scram_keys(PASSWORD, 4096), key=KEY),
    "bob": Credentials(password=hash_password("open", **COST), scram=scram_keys("open", 4096), key=KEY[::-1]),
    "eve": Credentials(),
}


class Attacker(World):
    """A world whose clock stands still."""

    def __init__(self, peer=("192.0.2.7", 4711), secured=None, principal=None, bindings=(), **options):
        super().__init__(peer, now=lambda: self.time, **options)
        self.time = 1e9
        self.secured, self.principal = secured, principal
        self.bindings = dict(bindings)

    def channel_binding(self, kind):
        return self.bindings.get(kind)


def work(machine):
    """Do the work that the machine waits for, and let its delays pass, until it waits for its peer."""
    while isinstance(wait := machine.wait, (Elsewhere, Delay)):
        if isinstance(wait, Delay):
            machine.driver.time += wait.seconds
            machine.expire()
            continue
        try:
            result = wait.function(*wait.arguments)
        except Exception as error:
            result = Failed(wait, error)
        (machine.interrupt if isinstance(result, Cause) else machine.resume)(result)


def feed(machine, data):
    """Feed, work, and return the output."""
    machine.feed(data)
    work(machine)
    return read(machine)


def read(machine):
    """All output."""
    return b"".join(iter(machine.read, b""))


class Login(SASL):
    """Lines ``AUTH MECHANISM [initial response]``; behind a login, each line is answered with the name."""

    store = USERS
    dummy = DUMMY
    mechanisms = (ScramPlus(4096, b"secret"), Scram(4096, b"secret"), Plain(), External())

    async def handle(self):
        self.send(b"* " + " ".join(self.offered()).encode() + b"\r\n")
        while not self.authenticated and self.may_try:
            command, _, rest = (await Until(b"\r\n", limit=2000)).rstrip(b"\r\n").partition(b" ")
            if command == b"AUTH":
                await self.login(*rest.split(b" ", 1))
            else:
                self.send(b"-ERR\r\n")
        if self.authenticated:
            self.opened()
            return super().handle()
        return None

    async def login(self, mechanism=b"", initial=None):
        try:
            response = None if initial is None else decoded(initial)
            await self.authenticate(mechanism.decode("latin-1"), self.ask, response)
        except Refused as refused:
            self.send(b"-TRY LATER\r\n" if refused.temporary else b"-NO\r\n")
        else:
            self.send(b"+OK\r\n")

    async def ask(self, challenge):
        self.send(b"+ " + b64encode(challenge) + b"\r\n")
        return decoded(await Until(b"\r\n", limit=2000))


class Lines(StreamHandler):
    """Each line is answered with the name of the peer, as states."""

    def handle(self):
        return Until(b"\n"), self.line

    def line(self, line):
        self.send(f"{self.principal}: ".encode() + line)
        return Until(b"\n"), self.line


class Conversation(StreamHandler):
    """The same as a coroutine."""

    async def handle(self):
        while True:
            line = await Until(b"\n")
            self.send(f"{self.principal}: ".encode() + line)


def behind(mixin, kind, **members):
    """The handler ``kind`` behind the mix-in, with attempts of its own."""
    return type(f"{mixin.__name__}{kind.__name__}", (mixin, kind), {"attempts": Attempts(), **members})
