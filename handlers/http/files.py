"""`Files`: the files of a directory, to be read.

``python3 -m reactor serve reactor.handlers.http:Files --bind tcp://127.0.0.1:8080`` serves the current directory.

The file system is asked in the loop, with ``stat`` and ``open``, which may wait for the disk; what a file has is sent
with ``sendfile(2)`` where no filter is in front. So it is for files on local disks.
"""

from __future__ import annotations

import errno
import stat
from functools import lru_cache
from html import escape
from itertools import islice
from mimetypes import MimeTypes
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from .conditions import Unsatisfiable, Validators, byte_range
from .handler import HTTPHandler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .exchange import FieldLines, Request, Response

MAX_LISTED = 4_096
"""Names in the listing of a directory; the others are left out, and the listing says so."""

_TYPES = MimeTypes(filenames=())  # the same on every host
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz",
               "br": "application/x-brotli", "compress": "application/x-compress"}  # fmt: skip

_NO_SUCH_FILE = {errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL}  # no name of a file, or none that leads to one


class NotServed(Exception):
    """The status with which a request for a file is answered, and the field lines that belong to it."""

    def __init__(self, status: int, fields: FieldLines = ()) -> None:
        super().__init__(status)
        self.status = status
        self.fields = fields


class Files(HTTPHandler):
    """Serves the files of ``directory``: GET and HEAD, conditional requests, a byte range.

    ``functools.partial(Files, "/srv/www")`` serves another directory than the current one. For a directory the answer
    is its file ``index.html``, or a listing. A name that begins with ``.`` is not served, nor listed: such files are
    configuration more often than content. ``.well-known`` is (RFC 8615). A symbolic link is followed if it leads to
    a file inside the directory.
    """

    index = "index.html"
    """The file that is served for a directory, if there is one."""

    def __init__(self, directory: str | Path = ".") -> None:
        self.directory = directory

    async def respond(self, request: Request, response: Response) -> None:
        try:
            if request.method not in ("GET", "HEAD"):
                raise NotServed(405, [("Allow", "GET, HEAD")])
            path, is_directory = self.find(request)
            if is_directory:
                await self._list(path, request, response)
            else:
                self._send(path, request, response)
        except NotServed as refused:
            self._refuse(refused, response)
        except OSError as error:
            if response.has_begun:
                raise
            status = status_of(error)
            if status == 500:
                raise
            self._refuse(NotServed(status), response)

    def find(self, request: Request) -> tuple[Path, bool]:
        """The file that the target names, and whether it is a directory to be listed. Raises `NotServed`, OSError."""
        written = path_of(request.target)
        *folders, last = written.split("/")[1:]
        if not all(folders):
            raise NotServed(404)  # an empty name; a target such as //a.example must not become a Location
        path = self._inside(*map(_name, folders), _name(last))
        if not path.is_dir():
            if not last:
                raise NotServed(404)  # a file is no directory
            return path, False
        if last:
            raise NotServed(301, [("Location", f"{written}/")])  # so that relative links lead into the directory
        if (path / self.index).is_file():
            return self._inside(path, self.index), False
        return path, True

    def _inside(self, *names: str | Path) -> Path:
        """The path below the directory, without symbolic links. Raises `NotServed` if they lead out of it, OSError."""
        root = _resolved(self.directory)
        try:
            path = root.joinpath(*names).resolve(strict=True)
        except RuntimeError:  # symbolic links in a circle; an OSError from Python 3.13 on
            raise NotServed(404) from None
        if path != root and root not in path.parents:
            raise NotServed(404)
        return path

    def _send(self, path: Path, request: Request, response: Response) -> None:
        """Send the file, or the part of it that the client wants, unless it has it already."""
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise NotServed(404)  # a device, or a pipe, whose opening would wait
        modified = min(status.st_mtime, self.now())  # not later than Date (RFC 9110, section 8.8.2.1)
        validators = Validators(f'"{status.st_mtime_ns:x}-{status.st_size:x}"', modified)
        fields = [*validators.fields(), ("Accept-Ranges", "bytes")]
        precondition = validators.precondition(request)
        if precondition != 200:
            raise NotServed(precondition, fields)
        start, stop, code = 0, status.st_size, 200
        wanted = request.get("Range")
        if wanted is not None and request.method == "GET" and validators.allow_range(request, self.now()):
            try:
                part = byte_range(wanted, stop)
            except Unsatisfiable:
                raise NotServed(416, [("Content-Range", f"bytes */{stop}")]) from None
            if part is not None:
                fields.append(("Content-Range", f"bytes {part[0]}-{part[1] - 1}/{stop}"))
                (start, stop), code = part, 206
        fields.append(("Content-Type", content_type(path.name)))
        file = path.open("rb")
        response.begin(code, fields, stop - start)
        response.send_file(file, start, stop - start)

    async def _list(self, path: Path, request: Request, response: Response) -> None:
        """Send a page with the names in the directory."""
        shown = (entry for entry in path.iterdir() if not entry.name.startswith("."))
        entries = list(islice(shown, MAX_LISTED + 1))
        title = escape(f"Files in {unquote_to_bytes(path_of(request.target)).decode(errors='replace')}")
        response.begin(200, [("Content-Type", "text/html; charset=utf-8")])
        await response.write(f"<!DOCTYPE html>\n<title>{title}</title>\n<h1>{title}</h1>\n<ul>\n".encode())
        for entry in sorted(entries[:MAX_LISTED]):
            octets = entry.name.encode(errors="surrogateescape") + b"/" * _is_directory(entry)
            name = escape(octets.decode(errors="replace"))
            await response.write(f'<li><a href="./{quote(octets)}">{name}</a>\n'.encode())
        rest = f"<p>There are more than these {MAX_LISTED}.\n" if len(entries) > MAX_LISTED else ""
        await response.write(f"</ul>\n{rest}".encode())

    def _refuse(self, refused: NotServed, response: Response) -> None:
        text = b"" if refused.status == 304 else f"{refused.status}\n".encode()
        response.reply(refused.status, text, [*refused.fields, *([("Content-Type", "text/plain")] if text else [])])


def status_of(error: OSError) -> int:
    """The status that tells of a file that can't be served: 404 only if there is none, for 404 may be cached.

    >>> status_of(FileNotFoundError()), status_of(PermissionError()), status_of(OSError(errno.EMFILE, ""))
    (404, 403, 503)
    """
    if isinstance(error, (FileNotFoundError, NotADirectoryError)) or error.errno in _NO_SUCH_FILE:
        return 404
    if isinstance(error, PermissionError):
        return 403
    return 503 if error.errno in (errno.EMFILE, errno.ENFILE) else 500


def path_of(target: str) -> str:
    """The path of a request target, as it is written (RFC 9112, section 3.2).

    >>> path_of("/a%20b?c"), path_of("http://a.example:80/x"), path_of("http://a.example")
    ('/a%20b', '/x', '/')
    """
    path = target.partition("?")[0]
    if not path.startswith("/"):
        path = "/" + path.partition("://")[2].partition("/")[2]
    return path


def content_type(name: str) -> str:
    """The media type of a file with this name."""
    kind, coding = _TYPES.guess_type(name)
    if coding is not None:
        return _COMPRESSED.get(coding, "application/octet-stream")
    return kind or "application/octet-stream"


def _is_directory(entry: Path) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a symbolic link to where this process may not look, or to a name that is too long
        return False


def _name(part: str) -> str:
    """The name of a file that is a segment of a path. Raises `NotServed` if no file may have it."""
    octets = unquote_to_bytes(part)
    if octets.startswith(b".") and octets != b".well-known":
        raise NotServed(404)  # also "." and "..", which clients resolve themselves (RFC 3986, section 5.2.4)
    name = octets.decode(errors="surrogateescape")
    if name and (b"\0" in octets or Path(name).parts != (name,)):
        raise NotServed(404)  # it has a separator, or names a drive
    return name


@lru_cache(maxsize=64)
def _resolved(directory: str | Path) -> Path:
    return Path(directory).resolve()
