"""``python -m tests.support.programs_on_reactor PROGRAM MODE``: a program written for ``socketserver``, on `reactor`.

The one change that is made to each program is ``sys.modules["socketserver"] = reactor``. In the mode ``own`` it serves
as it does by itself, and in ``select`` after the two lines that its function has for that: a framing, and a mix-in. In
``framed`` it has the framing, and threads as by itself or by `reactor.ThreadingMixIn`; in ``forked`` children. The
process prints its port when it listens, and serves until its standard input ends.
"""

import os
import sys
import threading

import reactor
from handlers import Exactly, Packet
from handlers.http import http_request

_MIXINS = {"select": reactor.SelectMixIn, "framed": reactor.ThreadingMixIn, "forked": reactor.ForkingMixIn}
"""That of each mode in which the handlers of streams have a framing."""


def _on(mode, kind):
    """The server class, with the mix-in of the mode, if it has not got it by itself."""
    mixin = _MIXINS[mode]
    return kind if issubclass(kind, mixin) else type("Server", (mixin, kind), {"daemon_threads": True})


def _tell(port):
    print(port, flush=True)


def _serve(server):
    _tell(server.server_address[1])
    server.serve_forever()


def _wsgi(environ, start_response):
    """Answers with the method, the path and the body."""
    size = int(environ.get("CONTENT_LENGTH") or 0)
    body = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} ".encode() + environ["wsgi.input"].read(size)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def http_server(mode):
    """``http.server`` of the standard library: the files of the current directory."""
    from http.server import HTTPServer, SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Handler(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

    kind = {"own": ThreadingHTTPServer, "single": HTTPServer}.get(mode)
    if mode in _MIXINS:
        Handler.request = http_request
        kind = _on(mode, HTTPServer)
    _serve(kind(("127.0.0.1", 0), Handler))


def wsgiref(mode):
    """``wsgiref.simple_server``."""
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

    if mode in _MIXINS:
        WSGIRequestHandler.request = http_request
        WSGIServer = _on(mode, WSGIServer)  # noqa: N806
    _serve(make_server("127.0.0.1", 0, _wsgi, WSGIServer, WSGIRequestHandler))


def xmlrpc(mode):
    """``xmlrpc.server``."""
    from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

    class Handler(SimpleXMLRPCRequestHandler):
        protocol_version = "HTTP/1.1"

    kind = SimpleXMLRPCServer
    if mode == "threaded":
        kind = _on("framed", kind)
    elif mode in _MIXINS:
        Handler.request = http_request
        kind = _on(mode, kind)
    server = kind(("127.0.0.1", 0), Handler, logRequests=False)
    server.register_function(pow)
    _serve(server)


def flask(mode):
    """A Flask application on the server of Werkzeug."""
    from flask import Flask, request
    from werkzeug import serving

    app = Flask(__name__)

    @app.route("/", defaults={"path": ""}, methods=["GET", "POST"])
    @app.route("/<path:path>", methods=["GET", "POST"])
    def echo(path):
        return f"{request.method} /{path} ".encode() + request.get_data()

    if mode in _MIXINS:
        serving.WSGIRequestHandler.request = http_request
    if mode == "select":
        serving.BaseWSGIServer = _on(mode, serving.BaseWSGIServer)
    options = {"processes": {"processes": 4}, "forked": {"processes": 4}}.get(
        mode, {"threaded": mode in ("threaded", "framed")}
    )
    _serve(serving.make_server("127.0.0.1", 0, app, **options))


def django(mode):
    """``manage.py runserver`` of Django."""
    import django
    from django.conf import settings
    from django.core.management import call_command
    from django.core.management.commands import runserver
    from django.http import HttpResponse
    from django.urls import re_path

    def echo(request):
        return HttpResponse(f"{request.method} {request.path} ".encode() + request.body)

    settings.configure(
        ROOT_URLCONF=type("urls", (), {"urlpatterns": [re_path("", echo)]}), ALLOWED_HOSTS=["*"], SECRET_KEY="not one",
        DATABASES={}, MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    )  # fmt: skip
    django.setup()
    if mode in _MIXINS:
        sys.modules["django.core.servers.basehttp"].WSGIRequestHandler.request = http_request
    if mode == "select":
        runserver.Command.server_cls = _on(mode, runserver.WSGIServer)
    runserver.Command.on_bind = lambda self, port: _tell(port)
    options = {"use_threading": mode in ("own", "framed"), "use_reloader": False, "skip_checks": True}
    call_command("runserver", "127.0.0.1:0", stdout=sys.stderr, **options)


def bottle(mode):
    """Bottle, on ``wsgiref``."""
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

    import bottle

    class Telling(WSGIServer):
        def server_activate(self):
            super().server_activate()
            _tell(self.server_port)

    @bottle.route("/<path:re:.*>", method=["GET", "POST"])
    def echo(path):
        return f"{bottle.request.method} /{path} ".encode() + bottle.request.body.read()

    options = {"server_class": Telling}
    if mode in _MIXINS:
        WSGIRequestHandler.request = http_request
        options["server_class"] = _on(mode, Telling)
    bottle.run(host="127.0.0.1", port=0, quiet=True, **options)


def prometheus(mode):
    """The exposition of ``prometheus_client``."""
    from prometheus_client import Counter, exposition

    Counter("served", "Requests.").inc(41)
    if mode in _MIXINS:
        exposition._SilentHandler.request = http_request
    if mode == "select":
        exposition.ThreadingWSGIServer = _on(mode, exposition.WSGIServer)
    server, thread = exposition.start_http_server(0, "127.0.0.1")
    _tell(server.server_port)
    thread.join()


def prometheus_kept(mode):
    """The WSGI application of ``prometheus_client``, in `handlers.http.wsgi`, which keeps connections."""
    from prometheus_client import Counter, make_wsgi_app

    from handlers.http.wsgi import handler_of

    Counter("served", "Requests.").inc(41)
    _serve(_on(mode, reactor.TCPServer)(("127.0.0.1", 0), handler_of(make_wsgi_app())))


class Fixed:
    """A resolver of ``dnslib`` that knows one address."""

    def resolve(self, request, handler):
        from dnslib import QTYPE, RR, A

        reply = request.reply()
        reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A("192.0.2.53")))
        return reply


def dns_udp(mode):
    """A name server of ``dnslib``, over UDP."""
    _dns(mode, False)


def dns_tcp(mode):
    """A name server of ``dnslib``, over TCP."""
    _dns(mode, True)


def dns_kept(mode):
    """The same, whose handler declares that a connection goes on."""
    from dnslib.server import DNSHandler

    DNSHandler.close_connection = False
    _dns(mode, True)


async def _dns_message(row):
    """The framing of a DNS message (RFC 1035, section 4.2.2)."""
    await Exactly(int.from_bytes(await Exactly(2), "big"))


def _dns(mode, tcp):
    from dnslib.server import DNSHandler, DNSLogger, DNSServer, TCPServer, UDPServer

    kind = TCPServer if tcp else UDPServer
    if mode in _MIXINS:
        DNSHandler.request = _dns_message if tcp else Packet()
        kind = _on(mode, kind)
    _serve(DNSServer(Fixed(), "127.0.0.1", 0, tcp, DNSLogger("-request,-reply"), server=kind).server)


def osc(mode):
    """A server of ``python-osc``."""
    from pythonosc import osc_server
    from pythonosc.dispatcher import Dispatcher

    dispatcher = Dispatcher()
    dispatcher.map("/twice", lambda address, number: ("/is", 2 * number))
    kind = {
        "own": osc_server.BlockingOSCUDPServer, "threaded": osc_server.ThreadingOSCUDPServer,
        "forked": osc_server.ForkingOSCUDPServer,
    }.get(mode)  # fmt: skip
    if mode == "select":
        osc_server._UDPHandler.request = Packet()
        kind = _on(mode, osc_server.OSCUDPServer)
    _serve(kind(("127.0.0.1", 0), dispatcher))


def _end_with_input():
    """End the process when its standard input ends."""
    sys.stdin.read()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.modules["socketserver"] = reactor
    threading.Thread(target=_end_with_input, daemon=True).start()
    globals()[sys.argv[1]](sys.argv[2])
