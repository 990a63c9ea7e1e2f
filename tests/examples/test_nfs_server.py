"""`examples/nfs_server.py` as a process: its key, MOUNT, and what the system refuses it."""

import os
import socket
import subprocess
import sys
from contextlib import closing, contextmanager

import pytest

from examples.nfs import mount3, nfs3
from examples.nfs.mounting import MAX_MOUNTS
from examples.nfs.tree import MAX_KEPT
from handlers.sunrpc.client import StreamClient
from tests import ROOT
from tests.support.nfs import OK, PATIENCE, SAME, Client, address_in, entries, error, made, ok, running, sattr
from tests.support.programs import program, refuse

M = mount3.mountstat3


@contextmanager
def client_of(directory, *arguments, before=()):
    with running(directory, *arguments, before=before) as url, closing(Client(address_in(url))) as client:
        yield client


def without_privileges():
    """A command that runs another one so that the system refuses it what it refuses to the owner of the files."""
    if os.geteuid():
        return []
    return [program("setpriv"), "--bounding-set=-all", "--inh-caps=-all", "--"]


def mounted(script, directory):
    """A command that runs another one with another file system mounted on the directory."""
    alone = [program("unshare"), "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    tried = subprocess.run([*alone, "mount", "-t", "tmpfs", "tmpfs", directory], capture_output=True, text=True)
    if tried.returncode:
        refuse(f"nothing can be mounted here ({tried.stderr.strip()}): be root, or allow user namespaces")
    return [*alone, "sh", "-c", f'cd / && {script} && shift && exec "$@"', "sh", str(directory)]


# The process


@pytest.mark.slow
def test_clients_go_on_after_the_server_was_started_again(tmp_path):
    (tmp_path / "served").mkdir()
    key = tmp_path / "key"
    with running(tmp_path / "served", "0", str(key)) as url:
        address = address_in(url)
        with closing(Client(address)) as client:
            handle = made(client.create(made(client.mkdir(client.root, b"a")), b"file", sattr(mode=0o640)))
            ok(client.write(handle, b"data"))
    assert (key.stat().st_mode & 0o777, len(key.read_bytes())) == (0o600, 32)
    assert (tmp_path / "served" / "a" / "file").stat().st_mode & 0o777 == 0o640
    with client_of(tmp_path / "served", str(address[1]), str(key)) as client:
        assert ok(client.read(handle)).data == b"data"


def test_a_key_file_that_has_no_key_is_refused(tmp_path):
    (tmp_path / "key").write_bytes(b"short")
    command = [sys.executable, ROOT / "examples" / "nfs_server.py", tmp_path, "0", tmp_path / "key"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (1, "", f"{tmp_path}/key has no key of 32 bytes\n")


def test_a_full_disk(tmp_path):
    before = mounted('mount -t tmpfs -o size=64k,nr_inodes=10 tmpfs "$1"', tmp_path)
    with client_of(tmp_path, before=before) as client:
        handle = made(client.create(client.root, b"file"))
        data = bytes(1 << 20)
        assert ok(client.write(handle, data)).count == 65_536
        result = client.write(handle, data, 65_536)
        assert (result.status, result.value.file_wcc.after.value.size) == (error("NOSPC"), 65_536)
        assert ok(client.fsstat(client.root)).abytes == 0
        statuses = {client.mkdir(client.root, b"%d" % number).status for number in range(12)}
        assert statuses == {OK, error("NOSPC")}
        result = client.create(client.root, b"new", b"verifier")
        assert result.status is error("NOSPC")
        assert result.value.dir_wcc.after.attributes_follow
        ok(client.setattr(handle, sattr(size=0)))
        ok(client.write(handle, b"x"))


def test_a_file_system_that_is_read_only(tmp_path):
    script = 'mount -t tmpfs tmpfs "$1" && echo data >"$1/file" && mkdir "$1/folder" && mount -o remount,ro tmpfs "$1"'
    with client_of(tmp_path, before=mounted(script, tmp_path)) as client:
        file, root = client.find(b"file"), client.root
        assert ok(client.read(file)).data == b"data\n"
        for result in (
            client.setattr(file, sattr(mode=0o600)), client.setattr(file, sattr(size=0)), client.write(file, b"x"),
            client.create(root, b"x"), client.create(root, b"x", b"verifier"), client.mkdir(root, b"x"),
            client.symlink(root, b"x", b"y"), client.mknod(root, b"x", nfs3.ftype3.NF3FIFO, SAME),
            client.remove(root, b"file"), client.rmdir(root, b"folder"), client.rename(root, b"file", root, b"x"),
            client.link(file, root, b"x"),
        ):  # fmt: skip
            assert result.status is error("ROFS"), result
        assert ok(client.access(root)).access == nfs3.ACCESS3_READ | nfs3.ACCESS3_LOOKUP


def test_the_permissions_are_those_of_the_user_that_runs_the_server(tmp_path):
    closed, kept, served = tmp_path / "closed", tmp_path / "kept", tmp_path / "secret"
    closed.mkdir()
    kept.mkdir()
    (kept / "file").write_bytes(b"data")
    served.write_bytes(b"data")
    with client_of(tmp_path, before=without_privileges()) as client:
        root, folder, keeping = client.root, client.find(b"closed"), client.find(b"kept")
        file, secret = client.find(b"kept", b"file"), client.find(b"secret")
        for path, mode in (closed, 0), (kept, 0o500), (kept / "file", 0o400), (served, 0):
            path.chmod(mode)
        for result in (
            client.lookup(folder, b"x"), client.readdir(folder), client.readdirplus(folder),
            client.create(folder, b"x"), client.mkdir(keeping, b"x"), client.remove(keeping, b"file"),
            client.rename(keeping, b"file", root, b"x"), client.symlink(keeping, b"x", b"y"),
            client.link(file, keeping, b"x"), client.write(file, b"x"),
            client.setattr(file, sattr(size=0)), client.read(secret),
        ):  # fmt: skip
            assert result.status is error("ACCES"), result
        assert ok(client.access(folder)).access == 0
        assert ok(client.access(keeping)).access == nfs3.ACCESS3_READ | nfs3.ACCESS3_LOOKUP
        assert ok(client.access(file)).access == nfs3.ACCESS3_READ
        for mode, status in (0, error("ACCES")), (0o200, OK), (0o400, OK):
            served.chmod(mode)
            assert client.commit(secret).status is status
        served.chmod(0)
        assert client.setattr(secret, sattr(uid=os.getuid() + 1)).status is error("PERM")
        ok(client.setattr(secret, sattr(mode=0o600)))
        assert ok(client.read(secret)).data == b"data"
        closed.chmod(0o700)


def test_who_makes_a_file_may_write_it_though_its_mode_says_no(tmp_path):
    with client_of(tmp_path, before=without_privileges()) as client:
        handle = made(client.create(client.root, b"file", sattr(mode=0o444, size=0)))
        assert ok(client.create(client.root, b"file", sattr(size=0))).obj.value.data == handle
        ok(client.write(handle, b"data", stable=nfs3.stable_how.FILE_SYNC))
        ok(client.setattr(handle, sattr(size=3)))
        ok(client.setattr(handle, sattr(mode=0)))
        assert ok(client.read(handle)).data == b"dat"
        ok(client.commit(handle))
        handles = [made(client.create(client.root, b"%d" % number, sattr(mode=0o444))) for number in range(MAX_KEPT)]
        ok(client.write(handles[-1], b"data"))
        assert client.write(handle, b"data").status is error("ACCES")  # others were made since


def test_a_file_system_that_has_no_handles_of_its_own(tmp_path):
    script = (
        'mount -t tmpfs tmpfs "$1" && cd "$1" && mkdir lower upper work'
        ' && mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay "$1"'
    )
    with client_of(tmp_path, before=mounted(script, tmp_path)) as client:
        handle = made(client.create(client.root, b"file"))
        ok(client.rename(client.root, b"file", client.root, b"other"))
        assert client.find(b"other") == handle
        ok(client.remove(client.root, b"other"))
        assert client.getattr(handle).status is error("STALE")
        assert made(client.create(client.root, b"file")) != handle


# MOUNT


@pytest.fixture
def mount(server, directory):
    (directory / "folder" / "inner").mkdir(parents=True)
    (directory / "file").touch()
    (directory / "link").symlink_to("folder")
    with StreamClient(mount3.MOUNT_V3, socket.create_connection(server.server_address, PATIENCE)) as client:
        yield client.remote


def test_mnt(mount, client):
    for path, names in (b"/export", []), (b"//export/", []), (b"/export/./folder//inner/", [b"folder", b"inner"]):
        result = mount.MOUNTPROC3_MNT(path)
        assert result.value == mount3.mountres3_ok(client.find(*names), [1, 0])
    for path, status in (
        (b"/export/none", M.MNT3ERR_NOENT), (b"/other", M.MNT3ERR_NOENT), (b"/", M.MNT3ERR_NOENT),
        (b"", M.MNT3ERR_NOENT), (b"export", M.MNT3ERR_NOENT), (b"/export/file", M.MNT3ERR_NOTDIR),
        (b"/export/link", M.MNT3ERR_NOTDIR),
        (b"/export/link/inner", M.MNT3ERR_NOTDIR), (b"/export/file/x", M.MNT3ERR_NOTDIR),
        (b"/export/..", M.MNT3ERR_ACCES), (b"/export/folder/..", M.MNT3ERR_ACCES),
        (b"/export/../export", M.MNT3ERR_ACCES),
        (b"/export/" + b"x" * 256, M.MNT3ERR_NAMETOOLONG), (b"/export/a\0", M.MNT3ERR_INVAL),
    ):  # fmt: skip
        assert mount.MOUNTPROC3_MNT(path) == mount3.mountres3(status, None), path


def test_mounts_are_told_until_they_end(mount, client):
    def listed():
        found, following = [], mount.MOUNTPROC3_DUMP()
        while following is not None:
            assert following.ml_hostname == b"127.0.0.1"
            found.append(following.ml_directory)
            following = following.ml_next
        return found

    assert listed() == [b"/export"]  # that of the client
    for path in b"/export/folder", b"/export", b"/export/folder/inner":
        mount.MOUNTPROC3_MNT(path)
    assert listed() == [b"/export", b"/export/folder", b"/export/folder/inner"]
    mount.MOUNTPROC3_UMNT(b"/export/folder")
    mount.MOUNTPROC3_UMNT(b"/export/never")
    assert listed() == [b"/export", b"/export/folder/inner"]
    mount.MOUNTPROC3_UMNTALL()
    assert listed() == []
    for number in range(MAX_MOUNTS + 10):
        mount.MOUNTPROC3_MNT(b"/export" + b"/" * number)
        if number % 100 == 0:
            mount.MOUNTPROC3_MNT(b"/export/folder")
    assert len(listed()) == MAX_MOUNTS
    assert mount.MOUNTPROC3_NULL() is None


def test_export(mount):
    assert mount.MOUNTPROC3_EXPORT() == mount3.exportnode(b"/export", None, None)


def test_a_mounted_directory_is_read(mount, client):
    handle = mount.MOUNTPROC3_MNT(b"/export/folder").value.fhandle
    assert {entry.name for entry in entries(ok(client.readdir(handle)))} == {b".", b"..", b"inner"}
