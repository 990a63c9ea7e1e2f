"""`examples/balanced.py` on two hosts behind HAProxy: a rolling restart of both loses no request of wrk's.

The hosts are network namespaces, each with a link to that of HAProxy and wrk.
"""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests import ROOT
from tests.support.namespaces import in_namespace
from tests.support.programs import program
from tests.support.serving import PATIENCE, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs network namespaces"),
]

SCRIPT = 'set -e; ip link set lo up; "$@"'
FRONT, PORT = ("127.0.0.1", 7090), "7089"
HOSTS = ("one", "two")
UP, STOPPING = "2", "3"
"""Values of ``srv_op_state``."""

COUNT = """
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init() told = "" answers = {} end
function response(status, headers, body)
    local key = status .. " " .. body
    answers[key] = (answers[key] or 0) + 1
    told = ""
    for key, count in pairs(answers) do told = told .. "answers " .. count .. " " .. key end
end
function done(summary)
    local e = summary.errors
    for _, thread in ipairs(threads) do io.write(thread:get("told")) end
    print("errors " .. e.connect + e.read + e.write + e.status + e.timeout .. " of " .. summary.requests)
end
"""
"""A script for wrk: which answers have come, and how often; wrk's own errors, and its number of requests."""


# In the namespace of HAProxy


def ip(*arguments, host=None):
    """Run ip(8), in the namespace of a host if one is given."""
    inside = [] if host is None else [program("nsenter"), f"--net=/proc/{host}/ns/net"]
    subprocess.run([*inside, program("ip"), *arguments], check=True, timeout=PATIENCE)


@contextmanager
def hosts():
    """A namespace for each of `HOSTS`, linked to this one. Yields the processes that hold them, and their addresses."""
    with ExitStack() as stack:
        found = {}
        for number, name in enumerate(HOSTS, 1):
            command = [program("unshare"), "--net", "sh", "-c", "echo; exec cat"]
            holder = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            stack.callback(holder.kill)
            holder.stdout.readline()  # it is in its namespace
            ip("link", "add", name, "type", "veth", "peer", "name", "out", "netns", str(holder.pid))
            ip("address", "add", f"10.77.{number}.1/24", "dev", name)
            ip("link", "set", name, "up")
            ip("address", "add", f"10.77.{number}.2/24", "dev", "out", host=holder.pid)
            ip("link", "set", "out", "up", host=holder.pid)
            found[name] = (holder.pid, f"10.77.{number}.2", f"10.77.{number}.1")
        yield found


def serve(host):
    """Start the example on a host; returns the process when it listens."""
    holder, address, balancer = host
    command = [program("nsenter"), f"--net=/proc/{holder}/ns/net", sys.executable, "examples/balanced.py"]
    process = subprocess.Popen([*command, PORT, address, balancer], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr.readline() == f"listening on {address}:{PORT}\n"
    return process


@contextmanager
def haproxy(found, stats):
    """HAProxy in front of the hosts, with the configuration of the example."""
    addresses = {name.upper(): f"{address}:{PORT}" for name, (_, address, _) in found.items()}
    environment = {**os.environ, **addresses, "FRONT": f"{FRONT[0]}:{FRONT[1]}", "STATS": stats}
    command = [program("haproxy"), "-db", "-f", "examples/balanced.cfg"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: states(stats) == [UP, UP])
            yield
            assert process.poll() is None
        finally:
            process.terminate()


def states(stats):
    """The state of each host, as HAProxy sees it."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(stats)
            client.sendall(b"show servers state hosts\n")
            with client.makefile() as stream:
                lines = [line.split() for line in stream]
    except OSError:
        return []  # it does not listen yet
    return [line[5] for line in lines if line[3:4] and line[3] in HOSTS]


def restart(process, host, stats):
    """Restart the service of one host. Returns the new process when HAProxy uses it."""
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: states(stats).count(UP) == 1)
    assert process.wait(PATIENCE) == 0
    assert process.stderr.read() == ""
    process.stderr.close()
    process = serve(host)
    wait_until(lambda: states(stats) == [UP, UP])
    return process


def roll(directory):
    """Restart both hosts, one after the other, while wrk asks."""
    stats, script = f"{directory}/stats", f"{directory}/count.lua"
    Path(script).write_text(COUNT)
    url = f"http://{FRONT[0]}:{FRONT[1]}/"
    with hosts() as found, ExitStack() as stack:
        processes = {name: serve(host) for name, host in found.items()}
        stack.callback(lambda: [process.kill() for process in processes.values()])
        stack.enter_context(haproxy(found, stats))
        command = [program("wrk"), "-t2", "-c40", "-d100s", "--timeout=20s", "-s", script, url]
        wrk = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        stack.callback(wrk.kill)
        for name in HOSTS:
            processes[name] = restart(processes[name], found[name], stats)
        wrk.send_signal(signal.SIGINT)  # it sums up
        print(wrk.communicate(timeout=PATIENCE)[0])


# The tests


def test_a_rolling_restart_loses_no_request(tmp_path):
    program("haproxy")
    program("wrk")
    said = in_namespace(SCRIPT, "test_balanced", f"roll({str(tmp_path)!r})")
    answers = re.findall(r"^answers (\d+) (.*)$", said, re.MULTILINE)
    assert {text for _, text in answers} == {f"200 10.77.{host}.2 answers 127.0.0.1" for host in (1, 2)}, said
    errors, asked = re.search(r"^errors (\d+) of (\d+)$", said, re.MULTILINE).groups()
    assert (errors, sum(int(count) for count, _ in answers)) == ("0", int(asked)), said
    assert int(asked) > 100
