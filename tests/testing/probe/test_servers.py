"""The probe plays with servers that we have not written: nginx, Redis and aiosmtpd."""

import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest

from reactor.testing.probe.command import main
from tests.support.programs import needed, program
from tests.support.serving import PATIENCE, wait_until

pytestmark = pytest.mark.slow

NGINX = """
daemon off; master_process off; pid {place}/pid; error_log {place}/error.log; events {{}}
http {{
    access_log off; keepalive_timeout 60;
    client_body_temp_path {place}/1; proxy_temp_path {place}/2; fastcgi_temp_path {place}/3;
    uwsgi_temp_path {place}/4; scgi_temp_path {place}/5;
    server {{ listen 127.0.0.1:{port}; location / {{ return 200 "hello, world"; }} }}
}}
"""
SMTP = """
import sys, time
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
controller = Controller(Sink(), hostname="127.0.0.1", port=int(sys.argv[1]), server_hostname="mail.example")
controller.start()
time.sleep(600)
"""

HTTP = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde"
REDIS = (
    b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"
    b"PING inline\r\n*1\r\n$4\r\nnone\r\n"
)
MAIL = """# recorded conversation
0 sent b'220 mail.example ...\\r\\n'
0 received b'EHLO client.example\\r\\n'
0 sent b'250-...'
0 received b'MAIL FROM:<a@example>\\r\\n'
0 sent b'250 OK\\r\\n'
0 received b'RCPT TO:<b@example>\\r\\n'
0 sent b'250 OK\\r\\n'
0 received b'DATA\\r\\n'
0 sent b'354 ...\\r\\n'
0 received b'Subject: test\\r\\n\\r\\n..\\r\\nbody\\r\\n.\\r\\n'
0 sent b'250 OK\\r\\n'
0 received b'QUIT\\r\\n'
0 sent b'221 Bye\\r\\n'
"""


def answers(port):
    """Whether a server listens on the port of loopback."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def running(*command, port):
    """A server in a process of its own, which answers on the port of loopback."""
    with subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: answers(port))
            yield f"tcp://127.0.0.1:{port}"
        finally:
            process.kill()


def probe(url, conversation, place, *options):
    """The exit status of the probe."""
    file = place / "conversation"
    file.write_bytes(conversation)
    return main(["probe", url, str(file), f"--patience={PATIENCE}", *options])


def test_nginx(tmp_path, capsys):
    port = free_port()
    (tmp_path / "nginx.conf").write_text(NGINX.format(place=tmp_path, port=port))
    with running(program("nginx"), "-p", tmp_path, "-c", tmp_path / "nginx.conf", port=port) as url:
        status = probe(url, HTTP, tmp_path, "--mask=Date: [^\r]*")
    assert status == 0, capsys.readouterr()


def test_redis(tmp_path, capsys):
    port = free_port()
    command = program("redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path
    with running(*command, port=port) as url:
        status = probe(url, REDIS, tmp_path)
    assert status == 0, capsys.readouterr()


def test_aiosmtpd(tmp_path, capsys):
    needed(_has_aiosmtpd(), "aiosmtpd")
    port = free_port()
    with running(sys.executable, "-c", SMTP, port, port=port) as url:
        status = probe(url, MAIL.encode(), tmp_path)
    assert status == 0, capsys.readouterr()


def _has_aiosmtpd():
    return subprocess.run([sys.executable, "-c", "import aiosmtpd"], capture_output=True, check=False).returncode == 0
