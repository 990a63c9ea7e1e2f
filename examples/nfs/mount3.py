"""Written from mount3.x by ``python3 -m handlers.sunrpc compile``. Change that file, and not this one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, TypeAlias

from handlers.sunrpc import xdr
from handlers.sunrpc.calling import Calls, Reply
from handlers.sunrpc.client import VersionClient
from handlers.sunrpc.program import Made, Procedure, Program, Version, declared

MNTPATHLEN = 1024
MNTNAMLEN = 255
FHSIZE3 = 64
fhandle3: TypeAlias = Annotated[bytes, xdr.AtMost(FHSIZE3)]
dirpath: TypeAlias = Annotated[bytes, xdr.AtMost(MNTPATHLEN)]
name: TypeAlias = Annotated[bytes, xdr.AtMost(MNTNAMLEN)]


class mountstat3(IntEnum):
    """enum mountstat3"""

    MNT3_OK = 0
    MNT3ERR_PERM = 1
    MNT3ERR_NOENT = 2
    MNT3ERR_IO = 5
    MNT3ERR_ACCES = 13
    MNT3ERR_NOTDIR = 20
    MNT3ERR_INVAL = 22
    MNT3ERR_NAMETOOLONG = 63
    MNT3ERR_NOTSUPP = 10004
    MNT3ERR_SERVERFAULT = 10006


@dataclass(slots=True)
class mountres3_ok:
    """struct mountres3_ok"""

    fhandle: fhandle3
    auth_flavors: list[xdr.Int]


@dataclass(slots=True)
class mountres3:
    """union mountres3 switch (mountstat3 fhs_status)

    - MNT3_OK: mountres3_ok mountinfo
    - default: void
    """

    fhs_status: mountstat3
    value: Annotated[
        mountres3_ok | None,
        xdr.Switch(
            {
                mountstat3.MNT3_OK: mountres3_ok,
            },
            default=None,
        ),
    ] = None


@dataclass(slots=True)
class mountbody:
    """struct mountbody"""

    ml_hostname: name
    ml_directory: dirpath
    ml_next: mountlist


mountlist: TypeAlias = mountbody | None


@dataclass(slots=True)
class groupnode:
    """struct groupnode"""

    gr_name: name
    gr_next: groups


groups: TypeAlias = groupnode | None


@dataclass(slots=True)
class exportnode:
    """struct exportnode"""

    ex_dir: dirpath
    ex_groups: groups
    ex_next: exports


exports: TypeAlias = exportnode | None


class MOUNT_V3(Version):
    """version MOUNT_V3 = 3 of program MOUNT_PROGRAM"""

    program = 100005
    version = 3
    procedures = {
        0: Procedure(0, "MOUNTPROC3_NULL", (), None),
        1: Procedure(1, "MOUNTPROC3_MNT", (dirpath,), mountres3),
        2: Procedure(2, "MOUNTPROC3_DUMP", (), mountlist),
        3: Procedure(3, "MOUNTPROC3_UMNT", (dirpath,), None),
        4: Procedure(4, "MOUNTPROC3_UMNTALL", (), None),
        5: Procedure(5, "MOUNTPROC3_EXPORT", (), exports),
    }

    @declared
    def MOUNTPROC3_NULL(self) -> Made[None]:
        """procedure MOUNTPROC3_NULL = 0"""
        raise NotImplementedError

    @declared
    def MOUNTPROC3_MNT(self, argument: dirpath, /) -> Made[mountres3]:
        """procedure MOUNTPROC3_MNT = 1"""
        raise NotImplementedError

    @declared
    def MOUNTPROC3_DUMP(self) -> Made[mountlist]:
        """procedure MOUNTPROC3_DUMP = 2"""
        raise NotImplementedError

    @declared
    def MOUNTPROC3_UMNT(self, argument: dirpath, /) -> Made[None]:
        """procedure MOUNTPROC3_UMNT = 3"""
        raise NotImplementedError

    @declared
    def MOUNTPROC3_UMNTALL(self) -> Made[None]:
        """procedure MOUNTPROC3_UMNTALL = 4"""
        raise NotImplementedError

    @declared
    def MOUNTPROC3_EXPORT(self) -> Made[exports]:
        """procedure MOUNTPROC3_EXPORT = 5"""
        raise NotImplementedError


class MOUNT_V3_client(VersionClient):
    """Calls version MOUNT_V3 = 3 of program MOUNT_PROGRAM."""

    version = MOUNT_V3

    def MOUNTPROC3_NULL(self) -> None:
        """procedure MOUNTPROC3_NULL = 0"""
        self._call(0)

    def MOUNTPROC3_MNT(self, argument: dirpath, /) -> mountres3:
        """procedure MOUNTPROC3_MNT = 1"""
        result: mountres3 = self._call(1, argument)
        return result

    def MOUNTPROC3_DUMP(self) -> mountlist:
        """procedure MOUNTPROC3_DUMP = 2"""
        result: mountlist = self._call(2)
        return result

    def MOUNTPROC3_UMNT(self, argument: dirpath, /) -> None:
        """procedure MOUNTPROC3_UMNT = 3"""
        self._call(3, argument)

    def MOUNTPROC3_UMNTALL(self) -> None:
        """procedure MOUNTPROC3_UMNTALL = 4"""
        self._call(4)

    def MOUNTPROC3_EXPORT(self) -> exports:
        """procedure MOUNTPROC3_EXPORT = 5"""
        result: exports = self._call(5)
        return result


class MOUNT_V3_calls(Calls):
    """Calls version MOUNT_V3 = 3 of program MOUNT_PROGRAM, inside a reactor."""

    version = MOUNT_V3

    def MOUNTPROC3_NULL(self) -> Reply[None]:
        """procedure MOUNTPROC3_NULL = 0"""
        return self._begin(0)

    def MOUNTPROC3_MNT(self, argument: dirpath, /) -> Reply[mountres3]:
        """procedure MOUNTPROC3_MNT = 1"""
        return self._begin(1, argument)

    def MOUNTPROC3_DUMP(self) -> Reply[mountlist]:
        """procedure MOUNTPROC3_DUMP = 2"""
        return self._begin(2)

    def MOUNTPROC3_UMNT(self, argument: dirpath, /) -> Reply[None]:
        """procedure MOUNTPROC3_UMNT = 3"""
        return self._begin(3, argument)

    def MOUNTPROC3_UMNTALL(self) -> Reply[None]:
        """procedure MOUNTPROC3_UMNTALL = 4"""
        return self._begin(4)

    def MOUNTPROC3_EXPORT(self) -> Reply[exports]:
        """procedure MOUNTPROC3_EXPORT = 5"""
        return self._begin(5)


class MOUNT_PROGRAM(Program):
    """program MOUNT_PROGRAM = 100005"""

    program = 100005
    versions = {
        3: MOUNT_V3,
    }
