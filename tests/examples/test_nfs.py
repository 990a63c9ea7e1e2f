"""`examples/nfs_server.py`: its handles, and that nothing leads out of the directory."""

import errno
import os
import threading

import pytest

from examples.nfs import nfs3, tree
from examples.nfs.errors import STATUSES, status_of
from handlers.sunrpc.language import translate
from tests import ROOT
from tests.support.nfs import KEY, OK, SAME, connected, entries, error, made, ok, sattr, serving

# The .x files


@pytest.mark.parametrize("name", ["nfs3", "mount3"])
def test_the_python_file_is_what_the_compiler_writes(name):
    path = ROOT / "examples" / "nfs" / f"{name}.x"
    assert path.with_suffix(".py").read_text() == translate(path)


# Statuses


def test_every_status_of_the_system_has_its_error():
    ours = {"BADHANDLE", "NOT_SYNC", "BAD_COOKIE", "TOOSMALL", "SERVERFAULT", "BADTYPE"}
    named = {status.name.removeprefix("NFS3ERR_") for status in STATUSES.values()}
    assert named | ours == {status.name.removeprefix("NFS3ERR_") for status in nfs3.nfsstat3} - {"NFS3_OK"}
    for number, name in errno.errorcode.items():
        found = status_of(OSError(number, "")).name.removeprefix("NFS3ERR_")
        same_name = {"EOPNOTSUPP": "NOTSUPP", "ENOTSUP": "NOTSUPP", "EACCES": "ACCES"}.get(name, name[1:])
        assert found in (same_name, "SERVERFAULT") or same_name not in named, name
    assert status_of(OSError("no number")) is error("SERVERFAULT")


# Handles


@pytest.mark.parametrize("size", [0, 1, 40, 64])
def test_a_handle_that_was_made_up_is_bad(client, size):
    assert client.getattr(os.urandom(size)).status is error("BADHANDLE")


def test_no_changed_bit_of_a_handle_is_accepted(client):
    for place in range(len(client.root) * 8):
        changed = bytearray(client.root)
        changed[place // 8] ^= 1 << place % 8
        assert client.getattr(bytes(changed)).status is error("BADHANDLE")
    assert client.getattr(client.root + b"\0").status is error("BADHANDLE")
    assert client.getattr(client.root[:-1]).status is error("BADHANDLE")


def test_the_handle_of_a_removed_object_is_stale_for_good(client, directory):
    handle = made(client.create(client.root, b"file"))
    ok(client.remove(client.root, b"file"))
    assert client.getattr(handle).status is error("STALE")
    (directory / "file").touch()  # perhaps with the same inode number
    client.find(b"file")
    assert client.getattr(handle).status is error("STALE")
    other = client.find(b"file")
    (directory / "file").unlink()
    for _ in range(2):
        assert client.getattr(other).status is error("STALE")


def test_a_handle_outlives_a_rename_by_a_client(client):
    folder = made(client.mkdir(client.root, b"folder"))
    handle = made(client.create(folder, b"file"))
    ok(client.write(handle, b"data"))
    ok(client.rename(client.root, b"folder", client.root, b"other"))
    ok(client.rename(folder, b"file", client.root, b"moved"))
    assert ok(client.read(handle)).data == b"data"
    assert client.find(b"moved") == handle
    assert client.find(b"other") == folder


def test_a_handle_outlives_a_rename_by_somebody_else(client, directory):
    (directory / "a" / "b").mkdir(parents=True)
    (directory / "a" / "b" / "file").write_bytes(b"data")
    handle, deep = client.find(b"a", b"b", b"file"), client.find(b"a", b"b")
    (directory / "a" / "b").rename(directory / "b")
    (directory / "a").rename(directory / "b" / "a")
    (directory / "b" / "file").rename(directory / "b" / "a" / "other")
    assert ok(client.read(handle)).data == b"data"
    assert ok(client.getattr(deep)).obj_attributes.type is nfs3.ftype3.NF3DIR
    assert client.find(b"b", b"a", b"other") == handle


@pytest.fixture
def replaced(client, directory):
    """The handles of a directory, of one that was in it, and of the one that has the place of the first now.

    The first one is in the second now, and that has the path that it has had.
    """
    (directory / "a" / "b").mkdir(parents=True)
    a, b = client.find(b"a"), client.find(b"a", b"b")
    (directory / "a" / "b").rename(directory / "b")
    (directory / "a").rename(directory / "b" / "old")
    (directory / "a").mkdir()
    (directory / "b").rename(directory / "a" / "b")
    return a, b, client.find(b"a")


def test_directories_that_were_moved_into_each_other_are_found(client, replaced):
    a, b, _ = replaced
    assert ok(client.lookup(b, b"old")).object.data == a  # each is remembered to be in the other one now
    assert [client.getattr(handle).status for handle in replaced] == [OK] * 3


def test_the_parent_of_a_directory_is_the_one_that_it_has_now(client, replaced):
    a, b, new = replaced
    assert ok(client.lookup(b, b"..")).object.data == new
    assert ok(client.lookup(a, b"..")).object.data == b


def test_what_is_remembered_is_bounded_and_found_again(client, directory, monkeypatch):
    monkeypatch.setattr(tree, "MAX_PLACES", 10)
    monkeypatch.setattr(tree, "STEP", 2)
    (directory / "a" / "b" / "c").mkdir(parents=True)
    deep = client.find(b"a", b"b", b"c")
    handles = [made(client.create(client.root, b"%d" % number)) for number in range(30)]
    assert [client.getattr(handle).status for handle in [*handles, deep]] == [OK] * 31
    for number in range(30):
        ok(client.remove(client.root, b"%d" % number))
    assert {client.getattr(handle).status for handle in handles} == {error("STALE")}


def test_the_second_name_of_a_file_is_found_when_the_first_is_removed(client):
    handle = made(client.create(client.root, b"one"))
    ok(client.link(handle, client.root, b"two"))
    ok(client.remove(client.root, b"two"))
    assert ok(client.getattr(handle)).obj_attributes.nlink == 1
    ok(client.link(handle, client.root, b"three"))
    ok(client.remove(client.root, b"one"))
    assert ok(client.getattr(handle)).obj_attributes.nlink == 1


def test_a_handle_outlives_the_server_and_no_other_key_knows_it(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"data")
    with serving(tmp_path) as server, connected(server) as client:
        handles = [client.find(b"a", b"b", b"file"), client.find(b"a", b"b"), client.root]
        gone = made(client.create(client.root, b"gone"))
        page = ok(client.readdir(client.root))
    (tmp_path / "gone").unlink()
    (tmp_path / "a" / "b").rename(tmp_path / "c")
    with serving(tmp_path, KEY) as server, connected(server) as client:
        assert ok(client.read(handles[0])).data == b"data"
        assert [client.getattr(handle).status for handle in handles] == [OK, OK, OK]
        assert client.getattr(gone).status is error("STALE")
        cookie = entries(page)[1].cookie
        assert [entry.name for entry in entries(ok(client.readdir(client.root, cookie, page.cookieverf)))]
    with serving(tmp_path, bytes(32)) as server, connected(server) as client:
        assert [client.getattr(handle).status for handle in handles] == [error("BADHANDLE")] * 3
        assert client.readdir(client.root, cookie, page.cookieverf).status is error("BAD_COOKIE")


def test_other_calls_are_answered_during_a_search(tmp_path):
    for number in range(100):
        (tmp_path / f"{number}" / "in").mkdir(parents=True)
    with serving(tmp_path) as server, connected(server) as client:
        handles = [client.find(b"%d" % number, b"in") for number in range(20)]
    with serving(tmp_path) as server, connected(server) as client:
        calls = [client.rpc.begin("NFSPROC3_GETATTR", nfs3.GETATTR3args(nfs3.nfs_fh3(handle))) for handle in handles]
        ok(client.getattr(client.root))
        assert [client.rpc.result(call).status for call in calls] == [OK] * 20
        assert client.find(b"7", b"in") == handles[7]


# Nothing outside the directory


OUTSIDE = [b"/etc/passwd", b"../secret", b"./a", b"a/../../secret", b"/", b"..\0", b"\0", b"a/"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_with_a_slash_or_a_null_is_invalid_everywhere(client, name):
    handle = made(client.create(client.root, b"a"))
    for result in every_name(client, handle, name):
        assert result.status is error("INVAL"), result


def every_name(client, handle, name):
    """The results of all procedures that have a name."""
    root = client.root
    return [
        client.lookup(root, name),
        client.create(root, name),
        client.create(root, name, b"verifier"),
        client.mkdir(root, name),
        client.symlink(root, name, b"a"),
        client.mknod(root, name, nfs3.ftype3.NF3FIFO, SAME),
        client.remove(root, name),
        client.rmdir(root, name),
        client.rename(root, name, root, b"new"),
        client.rename(root, b"a", root, name),
        client.link(handle, root, name),
    ]


def test_names_that_are_empty_or_too_long(client):
    handle = made(client.create(client.root, b"a"))
    for result in every_name(client, handle, b""):
        assert result.status is error("ACCES"), result
    for result in every_name(client, handle, b"x" * 256):
        assert result.status is error("NAMETOOLONG"), result
    ok(client.create(client.root, b"x" * 255))
    ok(client.create(client.root, b"\xff\xfe \n\x80"))
    assert ok(client.lookup(client.root, b"\xff\xfe \n\x80")).obj_attributes.attributes_follow


@pytest.mark.parametrize("name", [b".", b".."])
def test_the_names_of_the_directory_itself_and_of_its_parent(client, name):
    handle = made(client.create(client.root, b"a"))
    statuses = [result.status.name.removeprefix("NFS3ERR_") for result in every_name(client, handle, name)]
    add, remove = ["EXIST"] * 5, ["INVAL", "INVAL"] if name == b"." else ["EXIST", "EXIST"]
    assert statuses == ["NFS3_OK", *add, *remove, "INVAL", "INVAL", "EXIST"]


def test_the_parent_of_the_exported_directory_is_itself(client):
    folder = made(client.mkdir(client.root, b"folder"))
    assert client.find(b"..", b"..") == client.root
    assert ok(client.lookup(folder, b"..")).object.data == client.root
    assert ok(client.lookup(folder, b".")).object.data == folder
    for page in (client.readdir(client.root), client.readdirplus(client.root)):
        found = {entry.name: entry.fileid for entry in entries(ok(page))}
        assert found[b".."] == found[b"."]
    file = made(client.create(client.root, b"file"))
    for name in (b"..", b".", b"x"):
        assert client.lookup(file, name).status is error("NOTDIR")


def test_symbolic_links_are_never_followed(client, directory, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    for name, target in (
        (b"file", b"../secret"),
        (b"up", b".."),
        (b"absolute", os.fsencode(tmp_path)),
        (b"no", b"../new"),
    ):
        link = made(client.symlink(client.root, name, target))
        assert ok(client.readlink(link)).data == target
        assert client.read(link).status is error("INVAL")
        assert client.write(link, b"x").status is error("INVAL")
        assert client.setattr(link, sattr(size=0)).status is error("INVAL")
        assert client.setattr(link, sattr(mode=0o777)).status in (error("NOTSUPP"), OK)
        assert client.lookup(link, b"secret").status is error("NOTDIR")
        assert client.create(link, b"new").status is error("NOTDIR")
        assert client.readdir(link).status is error("NOTDIR")
        assert client.create(client.root, name, sattr(size=0)).status is error("EXIST")
        assert client.create(client.root, name, b"verifier").status is error("EXIST")
        ok(client.setattr(link, sattr(mtime=(5, 6))))
    assert (tmp_path / "secret").read_bytes() == b"secret"
    assert os.stat(tmp_path / "secret").st_mtime > 5
    assert sorted(os.listdir(tmp_path)) == ["secret", "served"]


def test_a_directory_that_becomes_a_link_does_not_lead_out(client, directory, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(b"secret")
    (directory / "folder").mkdir()
    (directory / "folder" / "file").write_bytes(b"data")
    folder, file = client.find(b"folder"), client.find(b"folder", b"file")
    (directory / "folder").rename(tmp_path / "moved")
    (directory / "folder").symlink_to(tmp_path / "outside")
    for result in (
        client.getattr(file),
        client.read(file),
        client.lookup(folder, b"file"),
        client.create(folder, b"x"),
    ):
        assert result.status is error("STALE")
    (tmp_path / "moved").rename(directory / "back")
    client.find(b"back", b"file")
    assert ok(client.read(file)).data == b"data"


def test_no_race_leads_out(client, directory, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(b"secret")
    (directory / "folder").mkdir()
    (directory / "folder" / "file").write_bytes(b"data")
    (directory / "link").symlink_to(tmp_path / "outside")
    file, over = client.find(b"folder", b"file"), threading.Event()

    def swap():
        while not over.is_set():
            for names in ("folder", "kept"), ("link", "folder"), ("folder", "link"), ("kept", "folder"):
                (directory / names[0]).rename(directory / names[1])

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(60):
            result = client.read(file)
            assert result.status in (OK, error("STALE"))
            assert result.status is not OK or result.value.data == b"data"
            found = client.lookup(client.root, b"folder")
            if found.status is OK:
                inner = client.lookup(found.value.object.data, b"file")
                assert inner.status in (OK, error("NOTDIR"), error("STALE"))
                assert inner.status is not OK or inner.value.object.data == file
            assert client.write(file, b"data").status in (OK, error("STALE"))
    finally:
        over.set()
        thread.join()
    assert (tmp_path / "outside" / "file").read_bytes() == b"secret"
