"""The clients of libnfs use `examples/nfs_server.py`: ``nfs-ls``, ``nfs-cat`` and ``nfs-cp``."""

import os
import subprocess
from urllib.parse import quote

import pytest

from tests.support.nfs import PATIENCE, running
from tests.support.programs import program

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are


@pytest.fixture
def server(tmp_path):
    """A directory that is served, and a function that makes the URL of a name in it."""
    directory = tmp_path / "served"
    directory.mkdir()
    with running(directory) as base:
        before, _, query = base.partition("?")
        yield directory, lambda name="": f"{before}{'/' if name else ''}{quote(name)}?{query}"


def run(name, *arguments, output=None):
    """Run a client; returns what it says, if ``output`` is no file for that."""
    command = [program(name), *map(str, arguments)]
    output = subprocess.PIPE if output is None else output
    done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def test_nfs_ls_lists_a_directory(server):
    directory, url = server
    (directory / "file").write_bytes(b"12345")
    (directory / "folder").mkdir()
    (directory / "link").symlink_to("/etc")
    listed = {line.split()[-1]: line.split() for line in run("nfs-ls", url()).splitlines()}
    assert {name: (words[0], words[4]) for name, words in listed.items()} == {
        b"file": (b"-rw-r--r--", b"5"),
        b"folder": (b"drwxr-xr-x", b"%d" % (directory / "folder").stat().st_size),
        b"link": (b"lrwxrwxrwx", b"4"),
    }
    assert run("nfs-ls", url("folder")) == b""


@pytest.mark.slow
def test_nfs_ls_lists_ten_thousand_entries(server):
    directory, url = server
    for number in range(10_000):
        (directory / f"{number}").touch()
    listed = [int(line.split()[-1]) for line in run("nfs-ls", url()).splitlines()]
    assert sorted(listed) == list(range(10_000))


def test_nfs_cat_reads_a_large_file(server, tmp_path):
    directory, url = server
    data = os.urandom((5 << 20) + 3)
    (directory / "folder").mkdir()
    (directory / "folder" / "file").write_bytes(data)
    with open(tmp_path / "read", "wb") as read:
        run("nfs-cat", url("folder/file"), output=read)
    assert (tmp_path / "read").read_bytes() == data


@pytest.mark.slow
def test_nfs_cp_writes_and_reads(server, tmp_path):
    directory, url = server
    data = os.urandom((5 << 20) + 3)
    (tmp_path / "data").write_bytes(data)
    assert run("nfs-cp", tmp_path / "data", url("copy")) == b"copied %d bytes\n" % len(data)
    assert (directory / "copy").read_bytes() == data
    run("nfs-cp", url("copy"), url("second"))
    run("nfs-cp", url("second"), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data


def test_what_is_not_there_is_an_error(server):
    _, url = server
    for name, argument in ("nfs-cat", url("none")), ("nfs-ls", url("none")):
        done = subprocess.run([program(name), argument], capture_output=True, timeout=PATIENCE, check=False)
        assert done.returncode != 0
        assert b"NOENT" in done.stderr
