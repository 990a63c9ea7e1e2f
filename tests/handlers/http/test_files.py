"""`Files` over bytes in memory and a directory: what is served, and what is not."""

import errno
import os
import resource
from functools import partial

import pytest

from handlers import StreamMachine, World
from handlers.files import SMALL
from handlers.http import Files
from handlers.http.files import content_type
from reactor.testing import check
from tests.support.http_handlers import answers_to, machine_of, responses_in, statuses

BIG = bytes(range(256)) * 500  # more than SMALL


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "outside").write_bytes(b"secret")
    folder = tmp_path / "served"
    (folder / "sub").mkdir(parents=True)
    (folder / "names").mkdir()
    (folder / ".well-known").mkdir()
    (folder / "a.txt").write_bytes(b"0123456789")
    (folder / "big").write_bytes(BIG)
    (folder / "empty.css").write_bytes(b"")
    (folder / ".hidden").write_bytes(b"secret")
    (folder / ".well-known" / "x").write_bytes(b"known")
    (folder / "sub" / "index.html").write_bytes(b"<p>index")
    (folder / "out").symlink_to(tmp_path / "outside")
    (folder / "up").symlink_to(tmp_path)
    (folder / "in").symlink_to("a.txt")
    (folder / "circle").symlink_to("circle")
    (folder / "names" / "<&\"'>.txt").write_bytes(b"odd")
    (folder / "names" / "h\xe4 %41?#;").write_bytes(b"odder")
    os.mkfifo(folder / "pipe")
    return folder


def ask(folder, target, *fields, method=b"GET"):
    """The answer to a request, with all its fields."""
    lines = [b"%b %b HTTP/1.1" % (method, target), b"Host: a", *fields, b"", b""]
    return answers_to(b"\r\n".join(lines), handler=partial(Files, folder))


def content_of(answer):
    return answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(("target", "content"), [
    (b"/a.txt", b"0123456789"), (b"/a.txt?query", b"0123456789"), (b"/%61.t%78t", b"0123456789"), (b"/big", BIG),
    (b"/empty.css", b""), (b"/sub/", b"<p>index"), (b"/in", b"0123456789"), (b"/.well-known/x", b"known"),
    (b"http://other.example/a.txt", b"0123456789"), (b"/names/h%C3%a4%20%2541%3f%23;", b"odder"),
])  # fmt: skip
def test_a_file_is_served(folder, target, content):
    answer = ask(folder, target)
    assert statuses(answer) == [200]
    assert content_of(answer) == content
    assert content_of(ask(folder, target, method=b"HEAD")) == b""
    assert ask(folder, target, method=b"HEAD") == answer[: len(answer) - len(content)]
    assert len(BIG) > SMALL


@pytest.mark.parametrize("target", [
    b"/../outside", b"/%2e%2e/outside", b"/sub/../../outside", b"/..%2foutside", b"/sub/..%2f..%2foutside", b"/out",
    b"/up/outside", b"/up/", b"/.hidden", b"/%2ehidden", b"/a.txt%00", b"/%00", b"/a.txt/", b"/a.txt/x", b"/none",
    b"/circle", b"/pipe", b"//a.txt", b"//", b"/sub//index.html", b"/./a.txt", b"/" + b"x" * 300, b"/%2fetc/passwd",
    b"/%ff%fe", b"/%", b"/%zz", b"http://other.example/../outside", b"/names/%3C&%22'%3E.tx", b"/sub/.%2e/a.txt",
])  # fmt: skip
def test_nothing_else_is_served(folder, target):
    answer = ask(folder, target)
    assert statuses(answer) == [404]
    assert b"secret" not in answer


def test_a_directory_is_listed_and_each_link_of_the_page_leads_to_its_file(folder):
    page = content_of(ask(folder, b"/names/")).decode()
    assert '<li><a href="./%3C%26%22%27%3E.txt">&lt;&amp;&quot;&#x27;&gt;.txt</a>' in page
    assert '<li><a href="./h%C3%A4%20%2541%3F%23%3B">h\xe4 %41?#;</a>' in page
    root = content_of(ask(folder, b"/"))
    assert b".hidden" not in root
    assert b'<a href="./sub/">sub/</a>' in root
    assert b"<script>" not in ask(folder, b"/names/?<script>")


def test_the_listing_of_a_large_directory_is_cut_and_says_so(folder, monkeypatch):
    monkeypatch.setattr("handlers.http.files.MAX_LISTED", 1)
    page = content_of(ask(folder, b"/names/"))
    assert page.count(b"<li>") == 1
    assert b"There are more than these 1" in page


def test_a_name_that_leads_to_no_file_does_not_cut_the_listing(folder):
    (folder / "names" / "long").symlink_to("x" * 300)  # a name that no file can have: ENAMETOOLONG
    (folder / "names" / "circle").symlink_to("circle")
    answer = ask(folder, b"/names/")
    assert answer.endswith(b"0\r\n\r\n")
    assert all(b'<li><a href="./%b">' % name in answer for name in (b"long", b"circle", b"h%C3%A4%20%2541%3F%23%3B"))


def test_a_directory_without_its_slash_is_redirected(folder):
    answer = ask(folder, b"/sub")
    assert statuses(answer) == [301]
    assert b"\r\nLocation: /sub/\r\n" in answer
    (folder / "host.example").mkdir()
    assert statuses(ask(folder, b"//host.example")) == [404]  # Location: //host.example/ would lead to another server


def test_other_methods_are_refused(folder):
    for method in b"POST", b"PUT", b"DELETE", b"OPTIONS", b"get":
        answer = ask(folder, b"/a.txt", method=method)
        assert statuses(answer) == [405]
        assert b"\r\nAllow: GET, HEAD\r\n" in answer


@pytest.mark.parametrize(("name", "first", "stop"), [("a.txt", 2, 5), ("big", 1000, 100_000)])
def test_a_range_is_a_part_of_the_file(folder, name, first, stop):
    whole = (folder / name).read_bytes()
    answer = ask(folder, b"/" + name.encode(), b"Range: bytes=%d-%d" % (first, stop - 1))
    assert statuses(answer) == [206]
    assert b"\r\nContent-Range: bytes %d-%d/%d\r\n" % (first, stop - 1, len(whole)) in answer
    assert content_of(answer) == whole[first:stop]
    head = ask(folder, b"/" + name.encode(), b"Range: bytes=%d-%d" % (first, stop - 1), method=b"HEAD")
    assert head.startswith(b"HTTP/1.1 200")  # a range is of a GET (RFC 9110, section 14.2)


def test_ranges_that_cannot_be_sent(folder):
    answer = ask(folder, b"/a.txt", b"Range: bytes=10-")
    assert statuses(answer) == [416]
    assert b"\r\nContent-Range: bytes */10\r\n" in answer
    assert content_of(ask(folder, b"/a.txt", b"Range: bytes=0-1,5-6")) == b"0123456789"
    assert content_of(ask(folder, b"/a.txt", b"Range: bytes=0-1", b'If-Range: "old"')) == b"0123456789"
    assert statuses(ask(folder, b"/empty.css", b"Range: bytes=0-")) == [416]


def test_a_client_that_has_the_file_gets_no_content(folder):
    answer = ask(folder, b"/a.txt")
    tag = next(line for line in answer.split(b"\r\n") if line.startswith(b"ETag: "))[6:]
    kept = ask(folder, b"/a.txt", b"If-None-Match: %b" % tag)
    assert kept.startswith(b"HTTP/1.1 304 ")
    assert content_of(kept) == b""
    assert tag in kept
    assert content_of(ask(folder, b"/a.txt", b"Range: bytes=0-1", b"If-Range: %b" % tag)) == b"01"
    (folder / "a.txt").write_bytes(b"changed")
    assert content_of(ask(folder, b"/a.txt", b"If-None-Match: %b" % tag)) == b"changed"
    assert statuses(ask(folder, b"/a.txt", b"If-Match: %b" % tag)) == [412]


@pytest.mark.parametrize(("ahead", "said"), [(-60, b"08:48:37"), (0, b"08:49:37"), (3600, b"08:49:37")])
def test_no_file_was_modified_later_than_now(folder, ahead, said):
    os.utime(folder / "a.txt", (0, 784_111_777 + ahead))
    machine = machine_of(partial(Files, folder))  # its time stands still at 08:49:37
    machine.advance()
    machine.feed(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"\r\nLast-Modified: Sun, 06 Nov 1994 %b GMT\r\n" % said in machine.read()


def test_several_requests_of_one_connection_are_answered_in_order(folder):
    stream = b"".join(b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % name for name in (b"big", b"a.txt", b"none", b"big"))
    whole = answers_to(stream, handler=partial(Files, folder))
    assert [content for _, content, _ in responses_in(whole)] == [BIG, b"0123456789", b"404\n", BIG]
    assert answers_to(stream, range(len(stream)), partial(Files, folder)) == whole


def test_a_file_without_permission_is_forbidden(folder, monkeypatch):
    def refuse(self, mode):
        raise PermissionError

    monkeypatch.setattr("pathlib.Path.open", refuse)
    assert statuses(ask(folder, b"/a.txt")) == [403]


def test_a_file_that_cannot_be_opened_for_want_of_descriptors_is_not_said_to_be_missing(folder):
    machine = StreamMachine(Files(folder), World(now=lambda: 0.0))
    machine.advance()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(folder / "a.txt", os.O_RDONLY)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 1, before[1]))  # the next one that is free is above the limit
    try:
        machine.feed(b"".join(b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % name for name in (b"a.txt", b"names/", b"none")))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        os.close(lowest)
    assert [status for status, _, _ in responses_in(machine.read())] == [503, 503, 404]
    machine.feed(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
    assert responses_in(machine.read())[0][:2] == (200, b"0123456789")


def test_an_error_of_the_disk_is_an_error_of_the_server(folder, monkeypatch):
    def fail(self, mode):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("pathlib.Path.open", fail)
    machine = StreamMachine(Files(folder), World(now=lambda: 0.0))
    machine.advance()
    with pytest.raises(OSError, match="Input/output error"):
        machine.feed(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
    assert statuses(machine.read()) == [500]


def test_a_connection_that_is_lost_closes_the_file(folder):
    machine = StreamMachine(Files(folder), World(now=lambda: 0.0))
    machine.advance()
    machine.feed(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
    file = machine.outbox.parts[-1].file
    machine.drop_output()
    assert file.closed


@pytest.mark.parametrize(("name", "kind"), [
    ("a.html", "text/html"), ("a.PNG", "image/png"), ("a", "application/octet-stream"),
    ("a.tar.gz", "application/gzip"), ("a.json", "application/json"),
    ("a.svgz", "application/gzip"), (".tar.gz", "application/gzip"),
])  # fmt: skip
def test_the_media_type_comes_from_the_name(name, kind):
    assert content_type(name) == kind


@pytest.mark.slow
def test_files_pass_check(folder):
    stream = b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\nGET /sub HTTP/1.1\r\nHost: a\r\n\r\n"
    check(partial(Files, folder), stream, modes=["select"], examples=2)
