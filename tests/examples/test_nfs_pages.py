"""`examples/nfs_server.py`: READDIR and READDIRPLUS (RFC 1813, sections 3.3.16 and 3.3.17)."""

import os
import time

import pytest

from examples.nfs import nfs3
from handlers.sunrpc import xdr
from tests.support.nfs import connected, entries, error, made, ok, serving

PLUS = pytest.mark.parametrize("plus", [False, True], ids=["READDIR", "READDIRPLUS"])
RESULTS = {False: nfs3.READDIR3resok, True: nfs3.READDIRPLUS3resok}


def page(client, handle, plus, size, cookie=0, verifier=bytes(8)):
    """One page of at most so many bytes."""
    if plus:
        return client.readdirplus(handle, cookie, verifier, size, size)
    return client.readdir(handle, cookie, verifier, size)


def pages(client, handle, plus, size):
    """All pages of a directory, one after the other."""
    cookie, verifier, eof = 0, bytes(8), False
    while not eof:
        found = ok(page(client, handle, plus, size, cookie, verifier))
        assert len(xdr.pack(RESULTS[plus], found)) <= size
        assert entries(found) or found.reply.eof
        yield entries(found)
        cookie = entries(found)[-1].cookie if entries(found) else cookie
        verifier, eof = found.cookieverf, found.reply.eof


def names(pages):
    return [entry.name for page in pages for entry in page]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A directory with 10,000 entries, which has not changed for a second: the server keeps what it has read."""
    directory = tmp_path_factory.mktemp("many")
    for number in range(10_000):
        (directory / f"entry {number:0{1 + number % 40}}").touch()
    with serving(directory) as server, connected(server) as client:
        time.sleep(1)
        yield client, {b".", b".."}.union(map(os.fsencode, os.listdir(directory)))


@pytest.mark.slow
@PLUS
def test_ten_thousand_entries_are_told_once_each(many, plus):
    client, expected = many
    for size in 8192, 1 << 20:
        found = names(pages(client, client.root, plus, size))
        assert (len(found), set(found)) == (10_002, expected)


@PLUS
def test_a_page_that_has_room_for_one_entry(client, directory, plus):
    for number in range(20):
        (directory / ("x" * number * 12 + "y")).touch()
    size = 104 + 24 + 232 + (136 if plus else 0)
    found = list(pages(client, client.root, plus, size))
    assert {len(page) for page in found[-8:-1]} <= {1, 2, 3}
    assert set(names(found)) == {b".", b"..", *map(os.fsencode, os.listdir(directory))}
    (directory / ("z" * 233)).touch()
    with pytest.raises(AssertionError, match="TOOSMALL"):
        list(pages(client, client.root, plus, size))


@PLUS
def test_each_page_has_one_entry(client, directory, plus):
    for number in range(30):
        (directory / f"{number:04}").touch()
    found = list(pages(client, client.root, plus, 104 + 28 + (136 if plus else 0)))
    assert [len(page) for page in found] == [1] * 32
    assert sorted(names(found)) == [b".", b"..", *(b"%04d" % number for number in range(30))]


@PLUS
def test_a_page_of_no_entry_is_too_small(client, directory, plus):
    least = 104 + 28 + (136 if plus else 0)
    for size in 0, 103, 104, least - 1:
        result = page(client, client.root, plus, size)
        assert result.status is error("TOOSMALL")
        assert result.value.dir_attributes.attributes_follow
    assert names([entries(ok(page(client, client.root, plus, least)))]) == [b"."]
    end = entries(ok(page(client, client.root, plus, 4096)))[-1].cookie
    verifier = ok(page(client, client.root, plus, 4096)).cookieverf
    after = ok(page(client, client.root, plus, 104, end, verifier))
    assert (entries(after), after.reply.eof) == ([], True)
    assert page(client, client.root, plus, 103, end, verifier).status is error("TOOSMALL")


def test_dircount_bounds_the_names_and_maxcount_everything(client, directory):
    for number in range(100):
        (directory / f"{number:04}").touch()
    assert len(entries(ok(client.readdirplus(client.root, 0, bytes(8), 28 * 10, 1 << 20)))) == 10
    assert len(entries(ok(client.readdirplus(client.root, 0, bytes(8), 1 << 20, 104 + 164 * 10)))) == 10
    assert client.readdirplus(client.root, 0, bytes(8), 27, 1 << 20).status is error("TOOSMALL")


@pytest.mark.slow
@PLUS
def test_entries_that_stay_are_told_once_while_others_come_and_go(client, directory, plus):
    for number in range(150):
        (directory / f"stays {number}").touch()
        (directory / f"goes {number}").touch()
    found, number = [], 0
    for some in pages(client, client.root, plus, 2048):
        found += names([some])
        for name in names([some]):  # as rm does it
            if name.startswith(b"goes"):
                ok(client.remove(client.root, name))
        for _ in range(5):
            (directory / f"comes {number}").touch()
            (directory / f"goes {number * 37 % 150}").unlink(missing_ok=True)
            number += 1
    assert len(found) == len(set(found))
    assert {name for name in found if name.startswith(b"stays")} == {b"stays %d" % number for number in range(150)}


@PLUS
def test_a_directory_that_is_changed_just_after_it_was_read(client, directory, plus):
    for number in range(20):
        (directory / f"{number}").touch()
        assert b"%d" % number in names(pages(client, client.root, plus, 4096))
        (directory / f"{number}").unlink()
        assert b"%d" % number not in names(pages(client, client.root, plus, 4096))


@PLUS
def test_cookies_of_another_server_are_refused(client, directory, plus):
    found = ok(page(client, client.root, plus, 4096))
    cookie = entries(found)[0].cookie
    for verifier in bytes(8), b"verifier":
        result = page(client, client.root, plus, 4096, cookie, verifier)
        assert result.status is error("BAD_COOKIE")
        assert result.value.dir_attributes.attributes_follow
    ok(page(client, client.root, plus, 4096, 0, b"verifier"))
    last = ok(page(client, client.root, plus, 4096, (1 << 64) - 1, found.cookieverf))
    assert (entries(last), last.reply.eof) == ([], True)


@PLUS
def test_only_a_directory_has_entries(client, directory, plus):
    handle = made(client.create(client.root, b"file"))
    assert page(client, handle, plus, 4096).status is error("NOTDIR")


def test_an_entry_has_the_attributes_and_the_handle_of_its_object(client, directory):
    (directory / "folder").mkdir()
    (directory / "folder" / "file").write_bytes(b"data")
    (directory / "folder" / "link").symlink_to("nowhere")
    folder = client.find(b"folder")
    found = {entry.name: entry for entry in entries(ok(client.readdirplus(folder)))}
    assert set(found) == {b".", b"..", b"file", b"link"}
    for name, entry in found.items():
        looked_up = ok(client.lookup(folder, name))
        assert entry.name_handle.value == looked_up.object
        assert entry.name_attributes == looked_up.obj_attributes
        assert entry.fileid == looked_up.obj_attributes.value.fileid
    assert {entry.name: entry.fileid for entry in entries(ok(client.readdir(folder)))} == {
        name: entry.fileid for name, entry in found.items()
    }
