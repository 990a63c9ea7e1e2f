"""The procedures of VXI-11: the core channel (section B.6) and the abort channel (B.5).

There is no interrupt channel: the device sends no service requests, so create_intr_chan and device_enable_srq answer
that they are not supported, as device_docmd does, whose commands are those of a gateway to a bus.
"""

from __future__ import annotations

from typing import Any

from examples.vxi11.links import Device, Link, wait_until
from examples.vxi11.vxi11 import (
    DEVICE_ASYNC_VERSION,
    DEVICE_CORE_VERSION,
    FLAG_END,
    FLAG_TERMCHRSET,
    FLAG_WAITLOCK,
    Create_LinkParms,
    Create_LinkResp,
    Device_DocmdParms,
    Device_DocmdResp,
    Device_EnableSrqParms,
    Device_Error,
    Device_GenericParms,
    Device_LockParms,
    Device_ReadParms,
    Device_ReadResp,
    Device_ReadStbResp,
    Device_RemoteFunc,
    Device_WriteParms,
    Device_WriteResp,
)
from examples.vxi11.vxi11 import Device_ErrorCode as Error
from handlers.sunrpc.record import RPCStreamHandler

NAME = "inst0"
"""The name of the device."""
MAX_WRITE = 16_384
"""Bytes that one device_write may have: maxRecvSize."""


class Core(DEVICE_CORE_VERSION):
    """The core channel. A call that waits is a coroutine: the others, of this client and of all, go on meanwhile."""

    @property
    def device(self) -> Device:
        device: Device = self.server.device
        return device

    def link(self, number: int) -> Link | None:
        """The link, if this connection has made it."""
        link = self.device.links.get(number)
        return link if link is not None and link.owner == self.peer else None

    async def use(self, number: int, flags: int, lock_timeout: int) -> Link | Error:
        """The link, when no other has the lock; or why the call fails."""
        link = self.link(number)
        if link is None:
            return Error.INVALID_LINK
        wait = lock_timeout if flags & FLAG_WAITLOCK else 0
        error = await wait_until(lambda: self.device.may_use(link), link, wait)
        if error is Error.IO_TIMEOUT:
            return Error.LOCKED_BY_ANOTHER
        return error or link

    def create_link(self, parms: Create_LinkParms, /) -> Any:
        return self._create(parms)

    async def _create(self, parms: Create_LinkParms) -> Create_LinkResp:
        if parms.device.lower() != NAME:
            return Create_LinkResp(Error.NOT_ACCESSIBLE, 0, 0, 0)
        link = self.device.open(self.peer)
        if link is None:
            return Create_LinkResp(Error.OUT_OF_RESOURCES, 0, 0, 0)
        if parms.lockDevice:
            error = await self._lock(Device_LockParms(link.number, FLAG_WAITLOCK, parms.lock_timeout))
            if error:
                self.device.close(link)
                return Create_LinkResp(error, 0, 0, 0)
        return Create_LinkResp(Error.NO_ERROR, link.number, self.server.server_address[1], MAX_WRITE)

    def destroy_link(self, number: int, /) -> Device_Error:
        link = self.link(number)
        if link is None:
            return Device_Error(Error.INVALID_LINK)
        self.device.close(link)
        return Device_Error(Error.NO_ERROR)

    def device_write(self, parms: Device_WriteParms, /) -> Any:
        return self._write(parms)

    async def _write(self, parms: Device_WriteParms) -> Device_WriteResp:
        link = await self.use(parms.lid, parms.flags, parms.lock_timeout)
        if isinstance(link, Error):
            return Device_WriteResp(link, 0)
        if len(parms.data) > MAX_WRITE:
            return Device_WriteResp(Error.PARAMETER_ERROR, 0)
        error = self.device.write(link, parms.data, bool(parms.flags & FLAG_END))
        return Device_WriteResp(error, 0 if error else len(parms.data))

    def device_read(self, parms: Device_ReadParms, /) -> Any:
        return self._read(parms)

    async def _read(self, parms: Device_ReadParms) -> Device_ReadResp:
        link = await self.use(parms.lid, parms.flags, parms.lock_timeout)
        if isinstance(link, Error):
            return Device_ReadResp(link, 0, b"")
        error = await wait_until(lambda: link.available, link, parms.io_timeout)
        if error:
            return Device_ReadResp(error, 0, b"")
        last = parms.termChar & 0xFF if parms.flags & FLAG_TERMCHRSET else None
        return Device_ReadResp(Error.NO_ERROR, *link.take(parms.requestSize, last))

    def device_readstb(self, parms: Device_GenericParms, /) -> Any:
        return self._status(parms)

    async def _status(self, parms: Device_GenericParms) -> Device_ReadStbResp:
        link = await self.use(parms.lid, parms.flags, parms.lock_timeout)
        if isinstance(link, Error):
            return Device_ReadStbResp(link, 0)
        return Device_ReadStbResp(Error.NO_ERROR, self.device.scope.status(link.available))

    def device_trigger(self, parms: Device_GenericParms, /) -> Any:
        return self._do(parms, lambda link: self.device.scope.trigger())

    def device_clear(self, parms: Device_GenericParms, /) -> Any:
        return self._do(parms, Link.clear)

    def device_remote(self, parms: Device_GenericParms, /) -> Any:
        return self._do(parms, lambda link: None)  # there are no keys to lock

    def device_local(self, parms: Device_GenericParms, /) -> Any:
        return self._do(parms, lambda link: None)

    async def _do(self, parms: Device_GenericParms, what: Any) -> Device_Error:
        link = await self.use(parms.lid, parms.flags, parms.lock_timeout)
        if isinstance(link, Error):
            return Device_Error(link)
        what(link)
        return Device_Error(Error.NO_ERROR)

    def device_lock(self, parms: Device_LockParms, /) -> Any:
        return self._lock_device(parms)

    async def _lock_device(self, parms: Device_LockParms) -> Device_Error:
        return Device_Error(await self._lock(parms))

    async def _lock(self, parms: Device_LockParms) -> Error:
        link = await self.use(parms.lid, parms.flags, parms.lock_timeout)
        if isinstance(link, Error):
            return link
        self.device.holder = link
        return Error.NO_ERROR

    def device_unlock(self, number: int, /) -> Device_Error:
        link = self.link(number)
        if link is None:
            return Device_Error(Error.INVALID_LINK)
        return Device_Error(Error.NO_ERROR if self.device.unlock(link) else Error.NO_LOCK_HELD)

    def device_enable_srq(self, parms: Device_EnableSrqParms, /) -> Device_Error:
        return Device_Error(Error.NOT_SUPPORTED)

    def device_docmd(self, parms: Device_DocmdParms, /) -> Device_DocmdResp:
        return Device_DocmdResp(Error.NOT_SUPPORTED, b"")

    def create_intr_chan(self, parms: Device_RemoteFunc, /) -> Device_Error:
        return Device_Error(Error.NOT_SUPPORTED)

    def destroy_intr_chan(self) -> Device_Error:
        return Device_Error(Error.NO_CHANNEL)


class Abort(DEVICE_ASYNC_VERSION):
    """The abort channel: a connection of its own, from the same host."""

    def device_abort(self, number: int, /) -> Device_Error:
        link = self.server.device.links.get(number)
        if link is None or self.peer is None or link.owner[0] != self.peer[0]:
            return Device_Error(Error.INVALID_LINK)
        link.aborts += 1
        return Device_Error(Error.NO_ERROR)


class Handler(RPCStreamHandler):
    """Both channels on one port. The links of a connection end with it."""

    versions = (Core, Abort)

    def finish(self) -> None:
        self.server.device.leave(self.peer)
        super().finish()
