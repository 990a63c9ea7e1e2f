"""The oracle for bytes: a C program, made by ``rpcgen`` of a .x file, that decodes and encodes any type of the file."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.support.programs import needed, program

HEADERS = Path("/usr/include/tirpc")

MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <rpc/rpc.h>
#include "%(name)s.h"
static struct { const char *name; xdrproc_t filter; size_t size; } types[] = {
%(rows)s
};
static char in[1 << 20], out[1 << 20];
int main(void)
{
    char name[256];
    unsigned length;
    while (scanf("%%255s %%u", name, &length) == 2 && getchar() == '\\n') {
        unsigned i, size = 0;
        if (length > sizeof in || fread(in, 1, length, stdin) != length)
            return 1;
        for (i = 0; i < sizeof types / sizeof *types && strcmp(types[i].name, name); i++)
            ;
        if (i == sizeof types / sizeof *types)
            return 2;
        char *value = calloc(1, types[i].size + 64);
        const char *said = "decoded";
        XDR from, to;
        xdrmem_create(&from, in, length, XDR_DECODE);
        xdrmem_create(&to, out, sizeof out, XDR_ENCODE);
        if (!types[i].filter(&from, value))
            said = "refused";
        else if (xdr_getpos(&from) != length)
            said = "longer";
        else if (!types[i].filter(&to, value))
            said = "unwritten";
        else
            size = xdr_getpos(&to);
        printf("%%s %%u\\n", said, size);
        fwrite(out, 1, size, stdout);
        fflush(stdout);
        xdr_free(types[i].filter, value);
        free(value);
    }
    return 0;
}
"""


class Filter:
    """The program for one file, which runs until the ``with`` statement ends. ``types`` are those that it knows."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.types = build(path, folder)
        self._process = subprocess.Popen([folder / "filter"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Filter:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)  # the end of its standard input ends it

    def __call__(self, name: str, encoded: bytes) -> bytes:
        """The bytes that C writes for the value that it has read from these; `ValueError` if it refuses them."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{name} {len(encoded)}\n".encode() + encoded)
        stdin.flush()
        said, length = stdout.readline().decode().split()
        if said != "decoded":
            raise ValueError(said)
        return stdout.read(int(length))


def build(path: Path, folder: Path) -> list[str]:
    """Compile the program of the file in the folder; return the names of the types."""
    needed(HEADERS.is_dir(), "libtirpc-dev")
    for source in path.parent.glob("*.x"):  # it may include some
        shutil.copy(source, folder)
    name = path.stem
    for option, output in (("-h", f"{name}.h"), ("-c", f"{name}_xdr.c")):
        run(folder, program("rpcgen"), "-N", option, path.name, "-o", output)
    code = (folder / f"{name}_xdr.c").read_text()
    filters = re.findall(r"^xdr_(\w+) *\(XDR \*xdrs, (\w+) (?:\*?)objp\)", code, re.MULTILINE)
    rows = "\n".join(f'{{"{kind}", (xdrproc_t)xdr_{kind}, sizeof({own})}},' for kind, own in filters)
    (folder / "main.c").write_text(MAIN % {"name": name, "rows": rows})
    run(folder, program("gcc"), "-w", f"-I{HEADERS}", "-I.", "-o", "filter", "main.c", f"{name}_xdr.c", "-ltirpc")
    return [kind for kind, _ in filters if not kind.endswith("_argument")]  # of a procedure that has several


def build_peer(path: Path, source: Path, stubs: str, folder: Path, *options: str) -> Path:
    """Compile a client (``stubs`` is ``-l``) or a server (``-m``) of the .x file with its C source; return its path.

    ``options`` are for gcc, after the files.
    """
    needed(HEADERS.is_dir(), "libtirpc-dev")
    for file in (path, source):
        shutil.copy(file, folder)
    for option, output in (("-h", f"{path.stem}.h"), ("-c", "xdr.c"), (stubs, "stubs.c")):
        run(folder, program("rpcgen"), "-N", option, path.name, "-o", output)
    unused = ["-ffunction-sections", "-Wl,--gc-sections"]  # the dispatchers of versions that the source does not serve
    files = [source.name, "xdr.c", "stubs.c"]
    run(folder, program("gcc"), "-w", *unused, f"-I{HEADERS}", "-I.", "-o", source.stem, *files, "-ltirpc", *options)
    return folder / source.stem


def run(folder: Path, *command: str) -> None:
    """Run the command in the folder."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
