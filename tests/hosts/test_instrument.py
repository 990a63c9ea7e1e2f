"""The instrument in a network namespace, where it has a portmapper: PyVISA-py and python-vxi11 find it and ask it."""

import json
import re
import signal
import socket
import subprocess
import sys
import warnings
from contextlib import contextmanager
from importlib.util import find_spec
from threading import Event, Thread

import pytest

from handlers.sunrpc import xdr
from tests import ROOT
from tests.support.namespaces import in_namespace
from tests.support.programs import needed
from tests.support.serving import PATIENCE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs network namespaces"),
]

SCRIPT = """\
set -e
ip link set lo up
ip address add 192.0.2.7/24 dev lo
ip route add 255.255.255.255 dev lo src 192.0.2.7
exec unshare --mount sh -c 'mount -t tmpfs tmpfs /run; exec "$@"' sh "$@"
"""
"""A script in a namespace: the network has one address, to which broadcasts are sent too."""
IDENTITY = "Example,Oscilloscope,0,1.0\n"


# In the namespace


@contextmanager
def instrument(host):
    """The example, and the resource that it names; its end must be clean."""
    command = [sys.executable, str(ROOT / "examples" / "instrument.py"), "0", host]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            resource = process.stdout.readline().strip()
            assert process.stderr.readline().startswith("listening on ")
            yield resource
            process.send_signal(signal.SIGINT)
            assert (process.wait(PATIENCE), process.stderr.read()) == (0, "")
        finally:
            process.kill()


def visa(host):
    """What PyVISA-py gets of the instrument, printed."""
    import pyvisa

    warnings.simplefilter("ignore")  # it would like other packages to look for instruments with
    with instrument(host) as resource:
        manager = pyvisa.ResourceManager("@py")
        found = {"resource": resource, "found": manager.list_resources("TCPIP?*")}
        with manager.open_resource(resource) as device:
            found["identity"] = device.query("*IDN?")
            device.write("WAV:POIN 300000")
            device.timeout = 1000 * PATIENCE
            device.chunk_size = 10_000
            found["points"] = device.query_binary_values("WAV:DATA?", datatype="b", container=list)
            device.write("*IDN?")
            found["status"] = [device.read_stb()]
            device.read_termination = ","
            found["pieces"] = [device.read(), device.read()]
            device.clear()
            found["status"].append(device.read_stb())
            device.assert_trigger()
            device.read_termination = None
            found["triggers"] = device.query("TRIG:COUN?")
            device.timeout = 100
            try:
                device.read()
            except pyvisa.errors.VisaIOError as error:
                found["error"] = error.abbreviation
            with manager.open_resource(resource) as other:
                device.lock_excl()
                other.timeout = 100
                try:
                    found["locked"] = other.query("*IDN?")
                except pyvisa.errors.VisaIOError as error:
                    found["locked"] = error.abbreviation
                device.unlock()
                found["unlocked"] = other.query("*IDN?")
    print(json.dumps(found))


def vxi11():
    """What python-vxi11 gets of the instrument, printed."""
    sys.modules["xdrlib"] = xdr  # which Python has lost, and python-vxi11 needs
    import vxi11

    def abort():
        while not over.wait(0.05):  # again and again, for the read may not have begun
            device.abort()

    over = Event()
    with instrument("0.0.0.0"):
        device = vxi11.Instrument("192.0.2.7")
        found = {"found": vxi11.list_devices("255.255.255.255"), "identity": device.ask("*IDN?")}
        device.write("WAV:POIN 300000;:WAV:DATA?")
        found["length"] = len(device.read_raw())
        device.lock()
        device.unlock()
        device.trigger()
        device.remote()
        device.local()
        device.clear()
        found["status"] = device.read_stb()
        thread = Thread(target=abort)
        thread.start()
        try:
            device.read()
        except vxi11.vxi11.Vxi11Exception as error:
            found["error"] = error.err
        over.set()
        thread.join()
        device.close()
        device.abort_client.close()
    print(json.dumps(found))


def without_portmapper():
    """Port 111 is in use: what the example says of where it is, and what PyVISA-py gets there; printed."""
    import pyvisa

    with socket.socket() as other:
        other.bind(("127.0.0.1", 111))
        with instrument("127.0.0.1") as resource, pyvisa.ResourceManager("@py").open_resource(resource) as device:
            print(json.dumps([resource, device.query("*IDN?")]))


# Outside


def ask(package, call):
    needed(find_spec(package), package)
    return json.loads(in_namespace(SCRIPT, "test_instrument", call))


def test_pyvisa():
    found = ask("pyvisa_py", "visa('0.0.0.0')")
    points = found.pop("points")
    assert found == {
        "resource": "TCPIP::0.0.0.0::INSTR",
        "found": ["TCPIP::192.0.2.7::INSTR"],
        "identity": IDENTITY,
        "status": [16, 0],
        "pieces": ["Example", "Oscilloscope"],
        "triggers": "1\n",
        "error": "VI_ERROR_TMO",
        "locked": "VI_ERROR_IO",
        "unlocked": IDENTITY,
    }
    assert len(points) == 300_000
    assert points[:4] == [0, 6, 13, 19]
    assert (min(points), max(points)) == (-100, 100)


def test_python_vxi11():
    found = ask("vxi11", "vxi11()")
    length = len("#6300000") + 300_000 + 1
    assert found == {
        "found": ["192.0.2.7"], "identity": IDENTITY.strip(), "length": length, "status": 0, "error": 23,
    }  # fmt: skip


def test_the_port_is_told_if_there_is_no_portmapper():
    resource, identity = ask("pyvisa_py", "without_portmapper()")
    assert re.fullmatch(r"TCPIP::127\.0\.0\.1,\d+::INSTR", resource)
    assert identity == IDENTITY
