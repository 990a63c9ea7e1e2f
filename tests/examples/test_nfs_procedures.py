"""`examples/nfs_server.py`: each procedure of NFS version 3 and each way in which it fails (RFC 1813, section 3.3)."""

import os
import stat
import time

import pytest

from examples.nfs import nfs3
from examples.nfs.procedures import TRANSFER
from examples.nfs_server import Handler
from tests.support.nfs import OK, SAME, connected, error, made, ok, sattr, serving

GUARDED, UNCHECKED = nfs3.createmode3.GUARDED, nfs3.createmode3.UNCHECKED
REG, DIR, BLK, CHR, LNK, SOCK, FIFO = nfs3.ftype3
UNSTABLE, DATA_SYNC, FILE_SYNC = nfs3.stable_how
LAST = (1 << 64) - 1
TYPES = {stat.S_IFREG: REG, stat.S_IFDIR: DIR, stat.S_IFLNK: LNK, stat.S_IFIFO: FIFO, stat.S_IFSOCK: SOCK}
NOTHING = nfs3.post_op_attr(False)


def moment(nanoseconds):
    return nfs3.nfstime3(*divmod(nanoseconds, 1_000_000_000))


def attributes(path):
    """What the attributes of the object must be."""
    status = os.lstat(path)
    times = (moment(getattr(status, f"st_{name}time_ns")) for name in "amc")
    return nfs3.fattr3(
        TYPES[stat.S_IFMT(status.st_mode)], stat.S_IMODE(status.st_mode), status.st_nlink, status.st_uid, status.st_gid,
        status.st_size, status.st_blocks * 512, nfs3.specdata3(0, 0), status.st_dev, status.st_ino, *times,
    )  # fmt: skip


def told(path):
    return nfs3.post_op_attr(True, attributes(path))


class Watch:
    """The attributes of a directory or a file before a call."""

    def __init__(self, path):
        self.path = path
        old = attributes(path)
        self.before = nfs3.pre_op_attr(True, nfs3.wcc_attr(old.size, old.mtime, old.ctime))

    def __eq__(self, other):
        """Whether it is the ``wcc_data`` of the call."""
        return other == nfs3.wcc_data(self.before, told(self.path))

    __hash__ = None


def fails(result, status, value):
    """Whether the result is this error with this value."""
    assert result.status is error(status), result
    assert result.value == value


@pytest.fixture
def tree(client, directory):
    """Handles: of a file, a directory with a file in it, a link, a FIFO and a socket, by their names."""
    (directory / "file").write_bytes(b"0123456789")
    (directory / "folder").mkdir()
    (directory / "folder" / "inner").write_bytes(b"inner")
    (directory / "link").symlink_to("file")
    os.mkfifo(directory / "fifo")
    os.mknod(directory / "socket", stat.S_IFSOCK | 0o600)
    return {name: client.find(os.fsencode(name)) for name in os.listdir(directory)} | {"root": client.root}


@pytest.fixture
def stale(client, tree):
    """The handle of a directory that is gone."""
    handle = made(client.mkdir(client.root, b"gone"))
    ok(client.rmdir(client.root, b"gone"))
    return handle


def test_every_procedure_fails_alike_for_a_handle_that_is_stale_or_bad(client, tree, stale):
    none = nfs3.wcc_data(nfs3.pre_op_attr(False), NOTHING)
    for handle, status in (stale, "STALE"), (b"no handle", "BADHANDLE"):
        fails(client.getattr(handle), status, None)
        for call in (client.access, client.readlink, client.read, client.readdir, client.readdirplus, client.fsstat,
                     client.fsinfo, client.pathconf):  # fmt: skip
            result = call(handle)
            assert result.status is error(status)
            assert vars_of(result.value) == [NOTHING]
        fails(client.lookup(handle, b"x"), status, nfs3.LOOKUP3resfail(NOTHING))
        for result in (
            client.setattr(handle, SAME), client.write(handle, b"x"), client.create(handle, b"x"),
            client.mkdir(handle, b"x"), client.symlink(handle, b"x", b"y"), client.mknod(handle, b"x", FIFO, SAME),
            client.remove(handle, b"x"), client.rmdir(handle, b"x"), client.commit(handle),
        ):  # fmt: skip
            assert result.status is error(status)
            assert vars_of(result.value) == [none]
        root = client.getattr(client.root).value.obj_attributes
        result = client.rename(client.root, b"file", handle, b"x")
        assert result.status is error(status)
        assert result.value.todir_wcc == none
        assert result.value.fromdir_wcc.after.value == root
        result = client.link(tree["file"], handle, b"x")
        assert result.status is error(status)
        assert result.value.linkdir_wcc == none
        assert result.value.file_attributes.value == client.getattr(tree["file"]).value.obj_attributes


def vars_of(value):
    return [getattr(value, name) for name in value.__dataclass_fields__]


# Procedures that change nothing


def test_null(client):
    assert client.rpc.call("NFSPROC3_NULL") is None


def test_getattr(client, tree, directory):
    os.utime(directory / "file", ns=(1, 4_000_000_000_123_456_789))
    for name, handle in tree.items():
        assert ok(client.getattr(handle)).obj_attributes == attributes(
            directory / name if name != "root" else directory
        )


def test_a_time_before_1970_is_1970(client, tree, directory):
    os.utime(directory / "file", ns=(-1, -5_000_000_000))
    assert ok(client.getattr(tree["file"])).obj_attributes.mtime == nfs3.nfstime3(0, 0)


def test_lookup(client, tree, directory):
    result = ok(client.lookup(tree["folder"], b"inner"))
    assert result.obj_attributes == told(directory / "folder" / "inner")
    assert result.dir_attributes == told(directory / "folder")
    fails(client.lookup(tree["folder"], b"file"), "NOENT", nfs3.LOOKUP3resfail(told(directory / "folder")))
    fails(client.lookup(tree["file"], b"file"), "NOTDIR", nfs3.LOOKUP3resfail(told(directory / "file")))


def test_access(client, tree, directory):
    (directory / "file").chmod(0o755)
    read, search, modify, extend, delete, execute = (1 << bit for bit in range(6))
    assert ok(client.access(tree["file"])) == nfs3.ACCESS3resok(
        told(directory / "file"), read | modify | extend | execute
    )
    assert ok(client.access(tree["folder"], LAST >> 32)).access == read | search | modify | extend | delete
    assert ok(client.access(tree["folder"], search | execute)).access == search
    assert ok(client.access(tree["file"], 0)).access == 0
    assert ok(client.access(tree["link"])).access & read


def test_readlink(client, tree, directory):
    assert ok(client.readlink(tree["link"])) == nfs3.READLINK3resok(told(directory / "link"), b"file")
    fails(client.readlink(tree["file"]), "INVAL", nfs3.READLINK3resfail(told(directory / "file")))


@pytest.mark.parametrize(
    ("offset", "count", "data", "eof"),
    [
        (0, 10, b"0123456789", True),
        (0, 11, b"0123456789", True),
        (0, 9, b"012345678", False),
        (0, 0, b"", False),
        (3, 4, b"3456", False),
        (10, 0, b"", True),
        (10, 5, b"", True),
        (11, 5, b"", True),
        (2**63 - 1, 5, b"", True),
        (2**63, 5, b"", True),
        (LAST, 2**32 - 1, b"", True),
        (0, 2**32 - 1, b"0123456789", True),
    ],
)
def test_read(client, tree, directory, offset, count, data, eof):
    found = ok(client.read(tree["file"], offset, count))
    assert found == nfs3.READ3resok(told(directory / "file"), len(data), eof, data)


def test_read_gives_at_most_rtmax(client, tree, directory):
    data = os.urandom(TRANSFER + 5)
    (directory / "file").write_bytes(data)
    assert ok(client.fsinfo(client.root)).rtmax == TRANSFER
    for offset, eof in (0, False), (5, True), (6, True):
        found = ok(client.read(tree["file"], offset, TRANSFER + 5))
        assert (found.count, found.eof) == (min(TRANSFER, TRANSFER + 5 - offset), eof)
        assert found.data == data[offset : offset + TRANSFER]


def test_what_a_client_does_not_take_is_bounded(client, tree, server, directory):
    os.truncate(directory / "file", TRANSFER)
    arguments = nfs3.READ3args(nfs3.nfs_fh3(tree["file"]), 0, TRANSFER)
    calls = [client.rpc.begin("NFSPROC3_READ", arguments) for _ in range(300)]
    with connected(server) as other:
        for _ in range(10):
            ok(other.getattr(tree["file"]))
            held = sum(row.held_out for row in server.reactor.table)
            assert held < (Handler.max_calls + 2) * (TRANSFER + 1000)
    assert {ok(client.rpc.result(call)).count for call in calls} == {TRANSFER}


@pytest.mark.parametrize("name", ["folder", "link", "fifo", "socket"])
def test_only_a_regular_file_is_read_and_written(client, tree, directory, name):
    watch = Watch(directory / name)
    fails(client.read(tree[name]), "INVAL", nfs3.READ3resfail(told(directory / name)))
    fails(client.write(tree[name], b"x"), "INVAL", nfs3.WRITE3resfail(watch))
    fails(client.commit(tree[name]), "INVAL", nfs3.COMMIT3resfail(watch))
    fails(client.setattr(tree[name], sattr(size=0)), "INVAL", nfs3.SETATTR3resfail(watch))


def test_the_file_system_is_described_as_it_is(client, tree, directory):
    found, real = ok(client.fsstat(tree["file"])), os.statvfs(directory)
    assert found.obj_attributes == told(directory / "file")
    assert (found.tbytes, found.tfiles) == (real.f_blocks * real.f_frsize, real.f_files)
    assert found.fbytes >= found.abytes > 0
    assert (found.invarsec, found.ffiles >= found.afiles) == (0, True)
    found = ok(client.pathconf(tree["folder"]))
    links = os.pathconf(directory, "PC_LINK_MAX")
    assert found == nfs3.PATHCONF3resok(told(directory / "folder"), links, real.f_namemax, True, True, False, True)
    found = ok(client.fsinfo(client.root))
    assert found.obj_attributes == told(directory)
    assert (found.rtpref, found.wtmax, found.wtpref, found.dtpref) == (TRANSFER, TRANSFER, TRANSFER, 65_536)
    assert found.maxfilesize == 2**63 - 1
    assert found.properties == nfs3.FSF3_LINK | nfs3.FSF3_SYMLINK | nfs3.FSF3_HOMOGENEOUS | nfs3.FSF3_CANSETTIME


# SETATTR


def test_setattr(client, tree, directory):
    path, handle = directory / "file", tree["file"]
    watch = Watch(path)
    assert ok(client.setattr(handle, sattr(mode=0o4751))).obj_wcc == watch
    assert stat.S_IMODE(path.stat().st_mode) == 0o4751
    ok(client.setattr(handle, sattr(size=4)))
    assert path.read_bytes() == b"0123"
    ok(client.setattr(handle, sattr(size=6)))
    assert path.read_bytes() == b"0123\0\0"
    ok(client.setattr(handle, sattr(atime=(1, 2), mtime=(3, 4))))
    assert (path.stat().st_atime_ns, path.stat().st_mtime_ns) == (1_000_000_002, 3_000_000_004)
    ok(client.setattr(handle, sattr(mtime=(2**32 - 1, 999_999_999))))
    assert path.stat().st_atime_ns == 1_000_000_002
    assert path.stat().st_mtime_ns in ((2**32 - 1) * 10**9 + 999_999_999, (2**31 - 1) * 10**9)  # or as far as it goes
    ok(client.setattr(handle, sattr(atime="now")))
    assert abs(path.stat().st_atime_ns - time.time_ns()) < 10**11
    assert path.stat().st_mtime_ns > 2**31 * 10**9 - 10**10
    ok(client.setattr(handle, sattr(atime="now", mtime="now")))
    assert abs(path.stat().st_mtime_ns - time.time_ns()) < 10**11
    ok(client.setattr(handle, sattr(uid=os.getuid(), gid=os.getgid())))
    ok(client.setattr(tree["folder"], sattr(mode=0o700, mtime=(1, 0))))
    assert attributes(directory / "folder").mode == 0o700
    for name in "fifo", "socket":
        ok(client.setattr(tree[name], sattr(mode=0o640, mtime=(1, 0))))
        assert attributes(directory / name).mode == 0o640
    watch = Watch(path)
    assert ok(client.setattr(handle, SAME)).obj_wcc == watch


@pytest.mark.parametrize(
    ("new", "status"),
    [
        (sattr(mode=0o777, atime=(1, 10**9)), "INVAL"),
        (sattr(mode=0o777, size=1, mtime=(1, 2**32 - 1)), "INVAL"),
        (sattr(mode=0o777, size=1, uid=2**32 - 1), "INVAL"),
        (sattr(mode=0o777, size=1, gid=2**32 - 1), "INVAL"),
        (sattr(mode=0o777, size=2**63), "FBIG"),
        (sattr(mode=0o777, size=LAST), "FBIG"),
    ],
)
def test_setattr_that_is_refused_sets_nothing(client, tree, directory, new, status):
    watch = Watch(directory / "file")
    fails(client.setattr(tree["file"], new), status, nfs3.SETATTR3resfail(watch))
    assert attributes(directory / "file").size == 10
    assert attributes(directory / "file").mode == 0o666


def test_setattr_with_a_guard(client, tree, directory):
    now = ok(client.getattr(tree["file"])).obj_attributes.ctime
    watch = Watch(directory / "file")
    for wrong in nfs3.nfstime3(now.seconds, now.nseconds ^ 1), nfs3.nfstime3(0, 0):
        fails(client.setattr(tree["file"], sattr(size=1), wrong), "NOT_SYNC", nfs3.SETATTR3resfail(watch))
    ok(client.setattr(tree["file"], sattr(size=1), now))
    assert (directory / "file").read_bytes() == b"0"


# WRITE and COMMIT


@pytest.mark.parametrize("stable", nfs3.stable_how)
def test_write(client, tree, directory, stable):
    path, handle = directory / "file", tree["file"]
    watch = Watch(path)
    found = ok(client.write(handle, b"abc", 8, stable))
    assert (found.file_wcc, found.count, found.committed) == (watch, 3, stable)
    assert path.read_bytes() == b"01234567abc"
    assert ok(client.write(handle, b"x", 20, stable)).verf == found.verf == ok(client.commit(handle)).verf
    assert path.read_bytes() == b"01234567abc" + bytes(9) + b"x"
    watch = Watch(path)
    assert ok(client.write(handle, b"", 0, stable)).file_wcc == watch
    assert watch.before.value.mtime == attributes(path).mtime


def test_the_write_verifier_is_that_of_one_instance(tmp_path):
    seen = set()
    for _ in range(2):
        with serving(tmp_path) as server, connected(server) as client:
            handle = made(client.create(client.root, b"file"))
            seen |= {ok(client.write(handle, b"x")).verf, ok(client.commit(handle)).verf}
    assert len(seen) == 2


def test_the_write_verifier_changes_when_data_may_be_lost(client, tree, directory, monkeypatch):
    before = ok(client.write(tree["file"], b"x")).verf

    def fail(descriptor):
        raise OSError(5, "as fsync does when the disk fails")

    monkeypatch.setattr(os, "fsync", fail)
    watch = Watch(directory / "file")
    fails(client.commit(tree["file"]), "IO", nfs3.COMMIT3resfail(watch))
    monkeypatch.undo()
    assert ok(client.commit(tree["file"])).verf != before


@pytest.mark.parametrize(
    ("offset", "count", "status"),
    [
        (0, 2, "INVAL"),
        (0, 4, "INVAL"),
        (2**63 - 3, 3, "FBIG"),
        (2**63 - 1, 3, "FBIG"),
        (2**63, 3, "FBIG"),
        (LAST, 3, "FBIG"),
    ],
)
def test_write_that_is_refused(client, tree, directory, offset, count, status):
    watch = Watch(directory / "file")
    fails(client.write(tree["file"], b"abc", offset, count=count), status, nfs3.WRITE3resfail(watch))
    assert (directory / "file").read_bytes() == b"0123456789"


def test_a_write_of_wtmax_bytes(client, tree, directory):
    data = os.urandom(ok(client.fsinfo(client.root)).wtmax)
    assert ok(client.write(tree["file"], data)).count == len(data)
    assert (directory / "file").read_bytes() == data


# CREATE and the other procedures that make objects


@pytest.mark.parametrize("mode", [UNCHECKED, GUARDED])
def test_create(client, tree, directory, mode):
    watch = Watch(directory)
    found = ok(client.create(client.root, b"new", sattr(mode=0o640, size=5, mtime=(1, 2)), mode))
    assert found.obj.handle_follows
    assert found.obj_attributes == told(directory / "new")
    assert found.dir_wcc == watch
    assert (attributes(directory / "new").mode, attributes(directory / "new").size) == (0o640, 5)
    assert attributes(directory / "new").mtime == nfs3.nfstime3(1, 2)
    assert client.find(b"new") == found.obj.value.data


def test_create_of_a_file_that_is_there(client, tree, directory):
    watch = Watch(directory)
    fails(client.create(client.root, b"file", SAME, GUARDED), "EXIST", nfs3.CREATE3resfail(watch))
    found = ok(client.create(client.root, b"file", sattr(mode=0o600)))
    assert (found.obj.value.data, found.obj_attributes) == (tree["file"], told(directory / "file"))
    assert (directory / "file").read_bytes() == b"0123456789"
    assert attributes(directory / "file").mode == 0o666
    ok(client.create(client.root, b"file", sattr(mode=0o600, size=3)))
    assert (directory / "file").read_bytes() == b"012"
    for name in "folder", "link", "fifo", "socket":
        for new in SAME, sattr(size=0), b"verifier":
            fails(client.create(client.root, os.fsencode(name), new), "EXIST", nfs3.CREATE3resfail(watch))


def test_exclusive_create(client, tree, directory):
    found = ok(client.create(client.root, b"new", b"\xff\x01234567"[:8]))
    watch = Watch(directory)
    again = ok(client.create(client.root, b"new", b"\xff\x01234567"[:8]))
    assert (again.obj, again.obj_attributes, again.dir_wcc) == (found.obj, found.obj_attributes, watch)
    for other in b"\xfe\x01234567"[:8], bytes(8), b"\xff\x0123456\xff"[:8]:
        fails(client.create(client.root, b"new", other), "EXIST", nfs3.CREATE3resfail(watch))
    fails(client.create(client.root, b"file", b"verifier"), "EXIST", nfs3.CREATE3resfail(watch))
    ok(client.setattr(found.obj.value.data, sattr(mode=0o644, atime="now", mtime="now")))
    fails(client.create(client.root, b"new", b"\xff\x01234567"[:8]), "EXIST", nfs3.CREATE3resfail(watch))


def test_an_object_whose_attributes_are_refused_is_not_made(client, tree, directory):
    nobody = sattr(uid=2**32 - 1)
    for call, *arguments in (
        (client.create, nobody), (client.mkdir, nobody), (client.mkdir, sattr(size=0)),
        (client.mknod, FIFO, nobody), (client.mknod, FIFO, sattr(size=1)),
    ):  # fmt: skip
        watch = Watch(directory)
        result = call(client.root, b"new", *arguments)
        assert result.status is error("INVAL")
        assert result.value.dir_wcc == watch
        assert not (directory / "new").exists()
    ok(client.create(client.root, b"new", SAME, GUARDED))


def test_mkdir(client, tree, directory):
    watch = Watch(directory)
    found = ok(client.mkdir(client.root, b"new", sattr(mode=0o1750, mtime=(7, 0))))
    assert (found.obj_attributes, found.dir_wcc) == (told(directory / "new"), watch)
    assert (attributes(directory / "new").mode, attributes(directory / "new").mtime.seconds) == (0o1750, 7)
    watch = Watch(directory)
    for name in os.listdir(directory):
        fails(client.mkdir(client.root, os.fsencode(name)), "EXIST", nfs3.MKDIR3resfail(watch))
    (directory / "folder").chmod(0o2755)
    ok(client.mkdir(tree["folder"], b"new", sattr(mode=0o750)))
    assert attributes(directory / "folder" / "new").mode == 0o2750  # as mkdir(2) has it


def test_symlink(client, tree, directory):
    watch = Watch(directory)
    found = ok(client.symlink(client.root, b"new", b"../\xff /x"))
    assert (found.obj_attributes, found.dir_wcc) == (told(directory / "new"), watch)
    assert os.readlink(os.fsencode(directory / "new")) == b"../\xff /x"
    watch = Watch(directory)
    fails(client.symlink(client.root, b"new", b"x"), "EXIST", nfs3.SYMLINK3resfail(watch))
    fails(client.symlink(client.root, b"other", b""), "INVAL", nfs3.SYMLINK3resfail(watch))
    fails(client.symlink(client.root, b"other", b"a\0b"), "INVAL", nfs3.SYMLINK3resfail(watch))
    fails(client.symlink(client.root, b"other", b"x" * 5000), "NAMETOOLONG", nfs3.SYMLINK3resfail(watch))


def test_mknod(client, tree, directory):
    for kind, name in (FIFO, b"f"), (SOCK, b"s"):
        watch = Watch(directory)
        found = ok(client.mknod(client.root, name, kind, sattr(mode=0o620)))
        assert (found.obj_attributes, found.dir_wcc) == (told(directory / os.fsdecode(name)), watch)
        assert (found.obj_attributes.value.type, found.obj_attributes.value.mode) == (kind, 0o620)
    watch = Watch(directory)
    fails(client.mknod(client.root, b"f", FIFO, SAME), "EXIST", nfs3.MKNOD3resfail(watch))
    device = nfs3.devicedata3(SAME, nfs3.specdata3(1, 3))
    for kind, value in (CHR, device), (BLK, device), (REG, None), (DIR, None), (LNK, None):
        fails(client.mknod(client.root, b"new", kind, value), "BADTYPE", nfs3.MKNOD3resfail(watch))


def test_nothing_is_made_in_what_is_no_directory(client, tree, directory):
    watch = Watch(directory / "file")
    for result in (
        client.create(tree["file"], b"x"), client.create(tree["file"], b"x", b"verifier"),
        client.mkdir(tree["file"], b"x"), client.symlink(tree["file"], b"x", b"y"),
        client.mknod(tree["file"], b"x", FIFO, SAME), client.remove(tree["file"], b"x"),
        client.rmdir(tree["file"], b"x"),
    ):  # fmt: skip
        assert result.status is error("NOTDIR")
        assert result.value.dir_wcc == watch
    root = Watch(directory)
    fails(client.link(tree["fifo"], tree["file"], b"x"), "NOTDIR", nfs3.LINK3resfail(told(directory / "fifo"), watch))
    fails(client.rename(tree["file"], b"x", client.root, b"y"), "NOTDIR", nfs3.RENAME3resfail(watch, root))
    fails(client.rename(client.root, b"fifo", tree["file"], b"y"), "NOTDIR", nfs3.RENAME3resfail(root, watch))


# REMOVE, RMDIR, RENAME and LINK


def test_remove(client, tree, directory):
    for name in "file", "link", "fifo", "socket":
        watch = Watch(directory)
        assert ok(client.remove(client.root, os.fsencode(name))).dir_wcc == watch
        assert client.getattr(tree[name]).status is error("STALE")
        watch = Watch(directory)
        fails(client.remove(client.root, os.fsencode(name)), "NOENT", nfs3.REMOVE3resfail(watch))
    fails(client.remove(client.root, b"folder"), "ISDIR", nfs3.REMOVE3resfail(watch))
    assert os.listdir(directory) == ["folder"]


def test_rmdir(client, tree, directory):
    watch = Watch(directory)
    fails(client.rmdir(client.root, b"folder"), "NOTEMPTY", nfs3.RMDIR3resfail(watch))
    fails(client.rmdir(client.root, b"none"), "NOENT", nfs3.RMDIR3resfail(watch))
    for name in b"file", b"link":
        fails(client.rmdir(client.root, name), "NOTDIR", nfs3.RMDIR3resfail(watch))
    ok(client.remove(tree["folder"], b"inner"))
    assert ok(client.rmdir(client.root, b"folder")).dir_wcc == watch
    assert client.getattr(tree["folder"]).status is error("STALE")


def test_rename(client, tree, directory):
    folder, root = Watch(directory / "folder"), Watch(directory)
    found = ok(client.rename(tree["folder"], b"inner", client.root, b"outer"))
    assert (found.fromdir_wcc, found.todir_wcc) == (folder, root)
    assert (directory / "outer").read_bytes() == b"inner"
    ok(client.rename(client.root, b"outer", client.root, b"file"))
    assert (directory / "file").read_bytes() == b"inner"
    assert client.getattr(tree["file"]).status is error("STALE")  # it was replaced
    ok(client.rename(client.root, b"folder", client.root, b"other"))
    ok(client.mkdir(client.root, b"empty"))
    ok(client.rename(client.root, b"other", client.root, b"empty"))
    assert client.find(b"empty") == tree["folder"]
    ok(client.rename(client.root, b"file", client.root, b"file"))
    ok(client.rename(client.root, b"link", client.root, b"link2"))
    assert os.readlink(directory / "link2") == "file"


def test_rename_that_is_refused(client, tree, directory):
    def refused(status, source, old, target, new):
        paths = [directory if handle == client.root else directory / "folder" for handle in (source, target)]
        watches = [Watch(path) for path in paths]
        fails(client.rename(source, old, target, new), status, nfs3.RENAME3resfail(*watches))

    ok(client.mkdir(client.root, b"empty"))
    refused("NOENT", client.root, b"none", client.root, b"new")
    refused("EXIST", client.root, b"file", client.root, b"empty")
    refused("EXIST", client.root, b"empty", client.root, b"file")
    refused("NOTEMPTY", client.root, b"empty", client.root, b"folder")
    refused("INVAL", client.root, b"folder", tree["folder"], b"inside")
    ok(client.link(tree["file"], tree["folder"], b"same"))
    ok(client.rename(client.root, b"file", tree["folder"], b"same"))  # two names of one file: nothing is done
    assert (directory / "file").exists()


def test_link(client, tree, directory):
    for name in "file", "link", "fifo":
        folder = Watch(directory / "folder")
        found = ok(client.link(tree[name], tree["folder"], os.fsencode(name)))
        assert (found.file_attributes, found.linkdir_wcc) == (told(directory / name), folder)
        assert found.file_attributes.value.nlink == 2
        assert client.find(b"folder", os.fsencode(name)) == tree[name]
    root, folder = Watch(directory), told(directory / "folder")
    fails(client.link(tree["folder"], client.root, b"new"), "INVAL", nfs3.LINK3resfail(folder, root))
    fails(client.link(tree["file"], client.root, b"file"), "EXIST", nfs3.LINK3resfail(told(directory / "file"), root))
    ok(client.remove(client.root, b"file"))
    assert ok(client.read(tree["file"])).data == b"0123456789"
    assert client.getattr(tree["file"]).status is OK
