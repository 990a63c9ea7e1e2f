"""Written from vxi11.x by ``python3 -m handlers.sunrpc compile``. Change that file, and not this one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, TypeAlias

from handlers.sunrpc import xdr
from handlers.sunrpc.calling import Calls, Reply
from handlers.sunrpc.client import VersionClient
from handlers.sunrpc.program import Made, Procedure, Program, Version, declared

Device_Link: TypeAlias = xdr.Int
Device_Flags: TypeAlias = xdr.Int
FLAG_WAITLOCK = 0x01
FLAG_END = 0x08
FLAG_TERMCHRSET = 0x80
REASON_REQCNT = 1
REASON_CHR = 2
REASON_END = 4


class Device_ErrorCode(IntEnum):
    """enum Device_ErrorCode"""

    NO_ERROR = 0
    SYNTAX_ERROR = 1
    NOT_ACCESSIBLE = 3
    INVALID_LINK = 4
    PARAMETER_ERROR = 5
    NO_CHANNEL = 6
    NOT_SUPPORTED = 8
    OUT_OF_RESOURCES = 9
    LOCKED_BY_ANOTHER = 11
    NO_LOCK_HELD = 12
    IO_TIMEOUT = 15
    IO_ERROR = 17
    INVALID_ADDRESS = 21
    ABORTED = 23
    CHANNEL_EXISTS = 29


class Device_AddrFamily(IntEnum):
    """enum Device_AddrFamily"""

    DEVICE_TCP = 0
    DEVICE_UDP = 1


@dataclass(slots=True)
class Device_Error:
    """struct Device_Error"""

    error: Device_ErrorCode


@dataclass(slots=True)
class Create_LinkParms:
    """struct Create_LinkParms"""

    clientId: xdr.Int
    lockDevice: bool
    lock_timeout: xdr.UInt
    device: str


@dataclass(slots=True)
class Create_LinkResp:
    """struct Create_LinkResp"""

    error: Device_ErrorCode
    lid: Device_Link
    abortPort: xdr.UShort
    maxRecvSize: xdr.UInt


@dataclass(slots=True)
class Device_WriteParms:
    """struct Device_WriteParms"""

    lid: Device_Link
    io_timeout: xdr.UInt
    lock_timeout: xdr.UInt
    flags: Device_Flags
    data: bytes


@dataclass(slots=True)
class Device_WriteResp:
    """struct Device_WriteResp"""

    error: Device_ErrorCode
    size: xdr.UInt


@dataclass(slots=True)
class Device_ReadParms:
    """struct Device_ReadParms"""

    lid: Device_Link
    requestSize: xdr.UInt
    io_timeout: xdr.UInt
    lock_timeout: xdr.UInt
    flags: Device_Flags
    termChar: xdr.Int


@dataclass(slots=True)
class Device_ReadResp:
    """struct Device_ReadResp"""

    error: Device_ErrorCode
    reason: xdr.Int
    data: bytes


@dataclass(slots=True)
class Device_ReadStbResp:
    """struct Device_ReadStbResp"""

    error: Device_ErrorCode
    stb: xdr.UChar


@dataclass(slots=True)
class Device_GenericParms:
    """struct Device_GenericParms"""

    lid: Device_Link
    flags: Device_Flags
    lock_timeout: xdr.UInt
    io_timeout: xdr.UInt


@dataclass(slots=True)
class Device_RemoteFunc:
    """struct Device_RemoteFunc"""

    hostAddr: xdr.UInt
    hostPort: xdr.UInt
    progNum: xdr.UInt
    progVers: xdr.UInt
    progFamily: Device_AddrFamily


@dataclass(slots=True)
class Device_EnableSrqParms:
    """struct Device_EnableSrqParms"""

    lid: Device_Link
    enable: bool
    handle: Annotated[bytes, xdr.AtMost(40)]


@dataclass(slots=True)
class Device_LockParms:
    """struct Device_LockParms"""

    lid: Device_Link
    flags: Device_Flags
    lock_timeout: xdr.UInt


@dataclass(slots=True)
class Device_DocmdParms:
    """struct Device_DocmdParms"""

    lid: Device_Link
    flags: Device_Flags
    io_timeout: xdr.UInt
    lock_timeout: xdr.UInt
    cmd: xdr.Int
    network_order: bool
    datasize: xdr.Int
    data_in: bytes


@dataclass(slots=True)
class Device_DocmdResp:
    """struct Device_DocmdResp"""

    error: Device_ErrorCode
    data_out: bytes


class DEVICE_ASYNC_VERSION(Version):
    """version DEVICE_ASYNC_VERSION = 1 of program DEVICE_ASYNC"""

    program = 395184
    version = 1
    procedures = {
        1: Procedure(1, "device_abort", (Device_Link,), Device_Error),
    }

    @declared
    def device_abort(self, argument: Device_Link, /) -> Made[Device_Error]:
        """procedure device_abort = 1"""
        raise NotImplementedError


class DEVICE_ASYNC_VERSION_client(VersionClient):
    """Calls version DEVICE_ASYNC_VERSION = 1 of program DEVICE_ASYNC."""

    version = DEVICE_ASYNC_VERSION

    def device_abort(self, argument: Device_Link, /) -> Device_Error:
        """procedure device_abort = 1"""
        result: Device_Error = self._call(1, argument)
        return result


class DEVICE_ASYNC_VERSION_calls(Calls):
    """Calls version DEVICE_ASYNC_VERSION = 1 of program DEVICE_ASYNC, inside a reactor."""

    version = DEVICE_ASYNC_VERSION

    def device_abort(self, argument: Device_Link, /) -> Reply[Device_Error]:
        """procedure device_abort = 1"""
        return self._begin(1, argument)


class DEVICE_ASYNC(Program):
    """program DEVICE_ASYNC = 395184"""

    program = 395184
    versions = {
        1: DEVICE_ASYNC_VERSION,
    }


class DEVICE_CORE_VERSION(Version):
    """version DEVICE_CORE_VERSION = 1 of program DEVICE_CORE"""

    program = 395183
    version = 1
    procedures = {
        10: Procedure(10, "create_link", (Create_LinkParms,), Create_LinkResp),
        11: Procedure(11, "device_write", (Device_WriteParms,), Device_WriteResp),
        12: Procedure(12, "device_read", (Device_ReadParms,), Device_ReadResp),
        13: Procedure(13, "device_readstb", (Device_GenericParms,), Device_ReadStbResp),
        14: Procedure(14, "device_trigger", (Device_GenericParms,), Device_Error),
        15: Procedure(15, "device_clear", (Device_GenericParms,), Device_Error),
        16: Procedure(16, "device_remote", (Device_GenericParms,), Device_Error),
        17: Procedure(17, "device_local", (Device_GenericParms,), Device_Error),
        18: Procedure(18, "device_lock", (Device_LockParms,), Device_Error),
        19: Procedure(19, "device_unlock", (Device_Link,), Device_Error),
        20: Procedure(20, "device_enable_srq", (Device_EnableSrqParms,), Device_Error),
        22: Procedure(22, "device_docmd", (Device_DocmdParms,), Device_DocmdResp),
        23: Procedure(23, "destroy_link", (Device_Link,), Device_Error),
        25: Procedure(25, "create_intr_chan", (Device_RemoteFunc,), Device_Error),
        26: Procedure(26, "destroy_intr_chan", (), Device_Error),
    }

    @declared
    def create_link(self, argument: Create_LinkParms, /) -> Made[Create_LinkResp]:
        """procedure create_link = 10"""
        raise NotImplementedError

    @declared
    def device_write(self, argument: Device_WriteParms, /) -> Made[Device_WriteResp]:
        """procedure device_write = 11"""
        raise NotImplementedError

    @declared
    def device_read(self, argument: Device_ReadParms, /) -> Made[Device_ReadResp]:
        """procedure device_read = 12"""
        raise NotImplementedError

    @declared
    def device_readstb(self, argument: Device_GenericParms, /) -> Made[Device_ReadStbResp]:
        """procedure device_readstb = 13"""
        raise NotImplementedError

    @declared
    def device_trigger(self, argument: Device_GenericParms, /) -> Made[Device_Error]:
        """procedure device_trigger = 14"""
        raise NotImplementedError

    @declared
    def device_clear(self, argument: Device_GenericParms, /) -> Made[Device_Error]:
        """procedure device_clear = 15"""
        raise NotImplementedError

    @declared
    def device_remote(self, argument: Device_GenericParms, /) -> Made[Device_Error]:
        """procedure device_remote = 16"""
        raise NotImplementedError

    @declared
    def device_local(self, argument: Device_GenericParms, /) -> Made[Device_Error]:
        """procedure device_local = 17"""
        raise NotImplementedError

    @declared
    def device_lock(self, argument: Device_LockParms, /) -> Made[Device_Error]:
        """procedure device_lock = 18"""
        raise NotImplementedError

    @declared
    def device_unlock(self, argument: Device_Link, /) -> Made[Device_Error]:
        """procedure device_unlock = 19"""
        raise NotImplementedError

    @declared
    def device_enable_srq(self, argument: Device_EnableSrqParms, /) -> Made[Device_Error]:
        """procedure device_enable_srq = 20"""
        raise NotImplementedError

    @declared
    def device_docmd(self, argument: Device_DocmdParms, /) -> Made[Device_DocmdResp]:
        """procedure device_docmd = 22"""
        raise NotImplementedError

    @declared
    def destroy_link(self, argument: Device_Link, /) -> Made[Device_Error]:
        """procedure destroy_link = 23"""
        raise NotImplementedError

    @declared
    def create_intr_chan(self, argument: Device_RemoteFunc, /) -> Made[Device_Error]:
        """procedure create_intr_chan = 25"""
        raise NotImplementedError

    @declared
    def destroy_intr_chan(self) -> Made[Device_Error]:
        """procedure destroy_intr_chan = 26"""
        raise NotImplementedError


class DEVICE_CORE_VERSION_client(VersionClient):
    """Calls version DEVICE_CORE_VERSION = 1 of program DEVICE_CORE."""

    version = DEVICE_CORE_VERSION

    def create_link(self, argument: Create_LinkParms, /) -> Create_LinkResp:
        """procedure create_link = 10"""
        result: Create_LinkResp = self._call(10, argument)
        return result

    def device_write(self, argument: Device_WriteParms, /) -> Device_WriteResp:
        """procedure device_write = 11"""
        result: Device_WriteResp = self._call(11, argument)
        return result

    def device_read(self, argument: Device_ReadParms, /) -> Device_ReadResp:
        """procedure device_read = 12"""
        result: Device_ReadResp = self._call(12, argument)
        return result

    def device_readstb(self, argument: Device_GenericParms, /) -> Device_ReadStbResp:
        """procedure device_readstb = 13"""
        result: Device_ReadStbResp = self._call(13, argument)
        return result

    def device_trigger(self, argument: Device_GenericParms, /) -> Device_Error:
        """procedure device_trigger = 14"""
        result: Device_Error = self._call(14, argument)
        return result

    def device_clear(self, argument: Device_GenericParms, /) -> Device_Error:
        """procedure device_clear = 15"""
        result: Device_Error = self._call(15, argument)
        return result

    def device_remote(self, argument: Device_GenericParms, /) -> Device_Error:
        """procedure device_remote = 16"""
        result: Device_Error = self._call(16, argument)
        return result

    def device_local(self, argument: Device_GenericParms, /) -> Device_Error:
        """procedure device_local = 17"""
        result: Device_Error = self._call(17, argument)
        return result

    def device_lock(self, argument: Device_LockParms, /) -> Device_Error:
        """procedure device_lock = 18"""
        result: Device_Error = self._call(18, argument)
        return result

    def device_unlock(self, argument: Device_Link, /) -> Device_Error:
        """procedure device_unlock = 19"""
        result: Device_Error = self._call(19, argument)
        return result

    def device_enable_srq(self, argument: Device_EnableSrqParms, /) -> Device_Error:
        """procedure device_enable_srq = 20"""
        result: Device_Error = self._call(20, argument)
        return result

    def device_docmd(self, argument: Device_DocmdParms, /) -> Device_DocmdResp:
        """procedure device_docmd = 22"""
        result: Device_DocmdResp = self._call(22, argument)
        return result

    def destroy_link(self, argument: Device_Link, /) -> Device_Error:
        """procedure destroy_link = 23"""
        result: Device_Error = self._call(23, argument)
        return result

    def create_intr_chan(self, argument: Device_RemoteFunc, /) -> Device_Error:
        """procedure create_intr_chan = 25"""
        result: Device_Error = self._call(25, argument)
        return result

    def destroy_intr_chan(self) -> Device_Error:
        """procedure destroy_intr_chan = 26"""
        result: Device_Error = self._call(26)
        return result


class DEVICE_CORE_VERSION_calls(Calls):
    """Calls version DEVICE_CORE_VERSION = 1 of program DEVICE_CORE, inside a reactor."""

    version = DEVICE_CORE_VERSION

    def create_link(self, argument: Create_LinkParms, /) -> Reply[Create_LinkResp]:
        """procedure create_link = 10"""
        return self._begin(10, argument)

    def device_write(self, argument: Device_WriteParms, /) -> Reply[Device_WriteResp]:
        """procedure device_write = 11"""
        return self._begin(11, argument)

    def device_read(self, argument: Device_ReadParms, /) -> Reply[Device_ReadResp]:
        """procedure device_read = 12"""
        return self._begin(12, argument)

    def device_readstb(self, argument: Device_GenericParms, /) -> Reply[Device_ReadStbResp]:
        """procedure device_readstb = 13"""
        return self._begin(13, argument)

    def device_trigger(self, argument: Device_GenericParms, /) -> Reply[Device_Error]:
        """procedure device_trigger = 14"""
        return self._begin(14, argument)

    def device_clear(self, argument: Device_GenericParms, /) -> Reply[Device_Error]:
        """procedure device_clear = 15"""
        return self._begin(15, argument)

    def device_remote(self, argument: Device_GenericParms, /) -> Reply[Device_Error]:
        """procedure device_remote = 16"""
        return self._begin(16, argument)

    def device_local(self, argument: Device_GenericParms, /) -> Reply[Device_Error]:
        """procedure device_local = 17"""
        return self._begin(17, argument)

    def device_lock(self, argument: Device_LockParms, /) -> Reply[Device_Error]:
        """procedure device_lock = 18"""
        return self._begin(18, argument)

    def device_unlock(self, argument: Device_Link, /) -> Reply[Device_Error]:
        """procedure device_unlock = 19"""
        return self._begin(19, argument)

    def device_enable_srq(self, argument: Device_EnableSrqParms, /) -> Reply[Device_Error]:
        """procedure device_enable_srq = 20"""
        return self._begin(20, argument)

    def device_docmd(self, argument: Device_DocmdParms, /) -> Reply[Device_DocmdResp]:
        """procedure device_docmd = 22"""
        return self._begin(22, argument)

    def destroy_link(self, argument: Device_Link, /) -> Reply[Device_Error]:
        """procedure destroy_link = 23"""
        return self._begin(23, argument)

    def create_intr_chan(self, argument: Device_RemoteFunc, /) -> Reply[Device_Error]:
        """procedure create_intr_chan = 25"""
        return self._begin(25, argument)

    def destroy_intr_chan(self) -> Reply[Device_Error]:
        """procedure destroy_intr_chan = 26"""
        return self._begin(26)


class DEVICE_CORE(Program):
    """program DEVICE_CORE = 395183"""

    program = 395183
    versions = {
        1: DEVICE_CORE_VERSION,
    }
