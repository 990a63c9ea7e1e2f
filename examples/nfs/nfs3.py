"""Written from nfs3.x by ``python3 -m handlers.sunrpc compile``. Change that file, and not this one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, TypeAlias

from handlers.sunrpc import xdr
from handlers.sunrpc.calling import Calls, Reply
from handlers.sunrpc.client import VersionClient
from handlers.sunrpc.program import Made, Procedure, Program, Version, declared

NFS3_FHSIZE = 64
NFS3_COOKIEVERFSIZE = 8
NFS3_CREATEVERFSIZE = 8
NFS3_WRITEVERFSIZE = 8
filename3: TypeAlias = bytes
nfspath3: TypeAlias = bytes
fileid3: TypeAlias = xdr.UHyper
cookie3: TypeAlias = xdr.UHyper
cookieverf3: TypeAlias = Annotated[bytes, xdr.Length(NFS3_COOKIEVERFSIZE)]
createverf3: TypeAlias = Annotated[bytes, xdr.Length(NFS3_CREATEVERFSIZE)]
writeverf3: TypeAlias = Annotated[bytes, xdr.Length(NFS3_WRITEVERFSIZE)]
uid3: TypeAlias = xdr.UInt
gid3: TypeAlias = xdr.UInt
size3: TypeAlias = xdr.UHyper
offset3: TypeAlias = xdr.UHyper
mode3: TypeAlias = xdr.UInt
count3: TypeAlias = xdr.UInt


class nfsstat3(IntEnum):
    """enum nfsstat3"""

    NFS3_OK = 0
    NFS3ERR_PERM = 1
    NFS3ERR_NOENT = 2
    NFS3ERR_IO = 5
    NFS3ERR_NXIO = 6
    NFS3ERR_ACCES = 13
    NFS3ERR_EXIST = 17
    NFS3ERR_XDEV = 18
    NFS3ERR_NODEV = 19
    NFS3ERR_NOTDIR = 20
    NFS3ERR_ISDIR = 21
    NFS3ERR_INVAL = 22
    NFS3ERR_FBIG = 27
    NFS3ERR_NOSPC = 28
    NFS3ERR_ROFS = 30
    NFS3ERR_MLINK = 31
    NFS3ERR_NAMETOOLONG = 63
    NFS3ERR_NOTEMPTY = 66
    NFS3ERR_DQUOT = 69
    NFS3ERR_STALE = 70
    NFS3ERR_REMOTE = 71
    NFS3ERR_BADHANDLE = 10001
    NFS3ERR_NOT_SYNC = 10002
    NFS3ERR_BAD_COOKIE = 10003
    NFS3ERR_NOTSUPP = 10004
    NFS3ERR_TOOSMALL = 10005
    NFS3ERR_SERVERFAULT = 10006
    NFS3ERR_BADTYPE = 10007
    NFS3ERR_JUKEBOX = 10008


class ftype3(IntEnum):
    """enum ftype3"""

    NF3REG = 1
    NF3DIR = 2
    NF3BLK = 3
    NF3CHR = 4
    NF3LNK = 5
    NF3SOCK = 6
    NF3FIFO = 7


@dataclass(slots=True)
class specdata3:
    """struct specdata3"""

    specdata1: xdr.UInt
    specdata2: xdr.UInt


@dataclass(slots=True)
class nfs_fh3:
    """struct nfs_fh3"""

    data: Annotated[bytes, xdr.AtMost(NFS3_FHSIZE)]


@dataclass(slots=True)
class nfstime3:
    """struct nfstime3"""

    seconds: xdr.UInt
    nseconds: xdr.UInt


@dataclass(slots=True)
class fattr3:
    """struct fattr3"""

    type: ftype3
    mode: mode3
    nlink: xdr.UInt
    uid: uid3
    gid: gid3
    size: size3
    used: size3
    rdev: specdata3
    fsid: xdr.UHyper
    fileid: fileid3
    atime: nfstime3
    mtime: nfstime3
    ctime: nfstime3


@dataclass(slots=True)
class post_op_attr:
    """union post_op_attr switch (bool attributes_follow)

    - TRUE: fattr3 attributes
    - FALSE: void
    """

    attributes_follow: bool
    value: Annotated[
        fattr3 | None,
        xdr.Switch(
            {
                True: fattr3,
                False: None,
            },
        ),
    ] = None


@dataclass(slots=True)
class wcc_attr:
    """struct wcc_attr"""

    size: size3
    mtime: nfstime3
    ctime: nfstime3


@dataclass(slots=True)
class pre_op_attr:
    """union pre_op_attr switch (bool attributes_follow)

    - TRUE: wcc_attr attributes
    - FALSE: void
    """

    attributes_follow: bool
    value: Annotated[
        wcc_attr | None,
        xdr.Switch(
            {
                True: wcc_attr,
                False: None,
            },
        ),
    ] = None


@dataclass(slots=True)
class wcc_data:
    """struct wcc_data"""

    before: pre_op_attr
    after: post_op_attr


@dataclass(slots=True)
class post_op_fh3:
    """union post_op_fh3 switch (bool handle_follows)

    - TRUE: nfs_fh3 handle
    - FALSE: void
    """

    handle_follows: bool
    value: Annotated[
        nfs_fh3 | None,
        xdr.Switch(
            {
                True: nfs_fh3,
                False: None,
            },
        ),
    ] = None


class time_how(IntEnum):
    """enum time_how"""

    DONT_CHANGE = 0
    SET_TO_SERVER_TIME = 1
    SET_TO_CLIENT_TIME = 2


@dataclass(slots=True)
class set_mode3:
    """union set_mode3 switch (bool set_it)

    - TRUE: mode3 mode
    - default: void
    """

    set_it: bool
    value: Annotated[
        mode3 | None,
        xdr.Switch(
            {
                True: mode3,
            },
            default=None,
        ),
    ] = None


@dataclass(slots=True)
class set_uid3:
    """union set_uid3 switch (bool set_it)

    - TRUE: uid3 uid
    - default: void
    """

    set_it: bool
    value: Annotated[
        uid3 | None,
        xdr.Switch(
            {
                True: uid3,
            },
            default=None,
        ),
    ] = None


@dataclass(slots=True)
class set_gid3:
    """union set_gid3 switch (bool set_it)

    - TRUE: gid3 gid
    - default: void
    """

    set_it: bool
    value: Annotated[
        gid3 | None,
        xdr.Switch(
            {
                True: gid3,
            },
            default=None,
        ),
    ] = None


@dataclass(slots=True)
class set_size3:
    """union set_size3 switch (bool set_it)

    - TRUE: size3 size
    - default: void
    """

    set_it: bool
    value: Annotated[
        size3 | None,
        xdr.Switch(
            {
                True: size3,
            },
            default=None,
        ),
    ] = None


@dataclass(slots=True)
class set_atime:
    """union set_atime switch (time_how set_it)

    - SET_TO_CLIENT_TIME: nfstime3 atime
    - default: void
    """

    set_it: time_how
    value: Annotated[
        nfstime3 | None,
        xdr.Switch(
            {
                time_how.SET_TO_CLIENT_TIME: nfstime3,
            },
            default=None,
        ),
    ] = None


@dataclass(slots=True)
class set_mtime:
    """union set_mtime switch (time_how set_it)

    - SET_TO_CLIENT_TIME: nfstime3 mtime
    - default: void
    """

    set_it: time_how
    value: Annotated[
        nfstime3 | None,
        xdr.Switch(
            {
                time_how.SET_TO_CLIENT_TIME: nfstime3,
            },
            default=None,
        ),
    ] = None


@dataclass(slots=True)
class sattr3:
    """struct sattr3"""

    mode: set_mode3
    uid: set_uid3
    gid: set_gid3
    size: set_size3
    atime: set_atime
    mtime: set_mtime


@dataclass(slots=True)
class diropargs3:
    """struct diropargs3"""

    dir: nfs_fh3
    name: filename3


@dataclass(slots=True)
class GETATTR3args:
    """struct GETATTR3args"""

    object: nfs_fh3


@dataclass(slots=True)
class GETATTR3resok:
    """struct GETATTR3resok"""

    obj_attributes: fattr3


@dataclass(slots=True)
class GETATTR3res:
    """union GETATTR3res switch (nfsstat3 status)

    - NFS3_OK: GETATTR3resok resok
    - default: void
    """

    status: nfsstat3
    value: Annotated[
        GETATTR3resok | None,
        xdr.Switch(
            {
                nfsstat3.NFS3_OK: GETATTR3resok,
            },
            default=None,
        ),
    ] = None


@dataclass(slots=True)
class sattrguard3:
    """union sattrguard3 switch (bool check)

    - TRUE: nfstime3 obj_ctime
    - FALSE: void
    """

    check: bool
    value: Annotated[
        nfstime3 | None,
        xdr.Switch(
            {
                True: nfstime3,
                False: None,
            },
        ),
    ] = None


@dataclass(slots=True)
class SETATTR3args:
    """struct SETATTR3args"""

    object: nfs_fh3
    new_attributes: sattr3
    guard: sattrguard3


@dataclass(slots=True)
class SETATTR3resok:
    """struct SETATTR3resok"""

    obj_wcc: wcc_data


@dataclass(slots=True)
class SETATTR3resfail:
    """struct SETATTR3resfail"""

    obj_wcc: wcc_data


@dataclass(slots=True)
class SETATTR3res:
    """union SETATTR3res switch (nfsstat3 status)

    - NFS3_OK: SETATTR3resok resok
    - default: SETATTR3resfail resfail
    """

    status: nfsstat3
    value: Annotated[
        SETATTR3resok | SETATTR3resfail,
        xdr.Switch(
            {
                nfsstat3.NFS3_OK: SETATTR3resok,
            },
            default=SETATTR3resfail,
        ),
    ]


@dataclass(slots=True)
class LOOKUP3args:
    """struct LOOKUP3args"""

    what: diropargs3


@dataclass(slots=True)
class LOOKUP3resok:
    """struct LOOKUP3resok"""

    object: nfs_fh3
    obj_attributes: post_op_attr
    dir_attributes: post_op_attr


@dataclass(slots=True)
class LOOKUP3resfail:
    """struct LOOKUP3resfail"""

    dir_attributes: post_op_attr


@dataclass(slots=True)
class LOOKUP3res:
    """union LOOKUP3res switch (nfsstat3 status)

    - NFS3_OK: LOOKUP3resok resok
    - default: LOOKUP3resfail resfail
    """

    status: nfsstat3
    value: Annotated[
        LOOKUP3resok | LOOKUP3resfail,
        xdr.Switch(
            {
                nfsstat3.NFS3_OK: LOOKUP3resok,
            },
            default=LOOKUP3resfail,
        ),
    ]


ACCESS3_READ = 0x0001
ACCESS3_LOOKUP = 0x0002
ACCESS3_MODIFY = 0x0004
ACCESS3_EXTEND = 0x0008
ACCESS3_DELETE = 0x0010
ACCESS3_EXECUTE = 0x0020


@dataclass(slots=True)
class ACCESS3args:
    """struct ACCESS3args"""

    object: nfs_fh3
    access: xdr.UInt


@dataclass(slots=True)
class ACCESS3resok:
    """struct ACCESS3resok"""

    obj_attributes: post_op_attr
    access: xdr.UInt


@dataclass(slots=True)
class ACCESS3resfail:
    """struct ACCESS3resfail"""

    obj_attributes: post_op_attr


@dataclass(slots=True)
class ACCESS3res:
    """union ACCESS3res switch (nfsstat3 status)

    - NFS3_OK: ACCESS3resok resok
    - default: ACCESS3resfail resfail
    """

    status: nfsstat3
    value: Annotated[
        ACCESS3resok | ACCESS3resfail,
        xdr.Switch(
            {
                nfsstat3.NFS3_OK: ACCESS3resok,
            },
            default=ACCESS3resfail,
        ),
    ]


@dataclass(slots=True)
class READLINK3args:
    """struct READLINK3args"""

    symlink: nfs_fh3


@dataclass(slots=True)
class READLINK3resok:
    """struct READLINK3resok"""

    symlink_attributes: post_op_attr
    data: nfspath3


@dataclass(slots=True)
class READLINK3resfail:
    """struct READLINK3resfail"""

    symlink_attributes: post_op_attr


@dataclass(slots=True)
class READLINK3res:
    """union READLINK3res switch (nfsstat3 status)

    - NFS3_OK: READLINK3resok resok
    - default: READLINK3resfail resfail
    """

    status: nfsstat3
    value: Annotated[
        READLINK3resok | READLINK3resfail,
        xdr.Switch(
            {
                nfsstat3.NFS3_OK: READLINK3resok,
            },
            default=READLINK3resfail,
        ),
    ]


@dataclass(slots=True)
class READ3args:
    """struct READ3args"""

    file: nfs_fh3
    offset: offset3
    count: count3


@dataclass(slots=True)
class READ3resok:
    """struct READ3resok"""

    file_attributes: post_op_attr
    count: count3
    eof: bool
    data: bytes


@dataclass(slots=True)
class READ3resfail:
    """struct READ3resfail"""

    file_attributes: post_op_attr


@dataclass(slots=True)
class READ3res:
    """union READ3res switch (nfsstat3 status)

    - NFS3_OK: READ3resok resok
    - default: READ3resfail resfail
    """

    status: nfsstat3
    value: Annotated[
        READ3resok | READ3resfail,
        xdr.Switch(
            {
                nfsstat3.NFS3_OK: READ3resok,
            },
            default=READ3resfail,
        ),
    ]


class stable_how(IntEnum):
    """enum stable_how"""

    UNSTABLE = 0
    DATA_SYNC = 1
    FILE_SYNC = 2


@dataclass(slots=True)
class WRITE3args:
    """struct WRITE3args"""

    file: nfs_fh3
    offset: offset3
    count: count3
    stable: stable_how
    data: bytes


@dataclass(slots=True)
class WRITE3resok:
    """struct WRITE3resok"""

    file_wcc: wcc_data
    count: count3
    committed: stable_how
    verf: writeverf3


@dataclass(slots=True)
class WRITE3resfail:
    """struct WRITE3resfail"""

    file_wcc: wcc_data


@dataclass(slots=True)
class WRITE3res:
    """union WRITE3res switch (nfsstat3 status)

    - NFS3_OK: WRITE3resok resok
    - default: WRITE3resfail resfail
    """

    status: nfsstat3
    value: Annotated[
        WRITE3resok | WRITE3resfail,
        xdr.Switch(
            {
                nfsstat3.NFS3_OK: WRITE3resok,
            },
            default=WRITE3resfail,
        ),
    ]


class createmode3(IntEnum):
    """enum createmode3"""

    UNCHECKED = 0
    GUARDED = 1
    EXCLUSIVE = 2


@dataclass(slots=True)
class createhow3:
    """union createhow3 switch (createmode3 mode)

    - UNCHECKED, GUARDED: sattr3 obj_attributes
    - EXCLUSIVE: createverf3 verf
    """

    mode: createmode3
    value: Annotated[
        sattr3 | createverf3,
        xdr.Switch(
            {
                createmode3.UNCHECKED: sattr3,
                createmode3.GUARDED: sattr3,
                createmode3.EXCLUSIVE: createverf3,
            },
        ),
    ]


@dataclass(slots=True)
class CREATE3args:
    """struct CREATE3args"""

    where: diropargs3
    how: createhow3


@dataclass(slots=True)
class CREATE3resok:
    """struct CREATE3resok"""

    obj: post_op_fh3
    obj_attributes: post_op_attr
    dir_wcc: wcc_data


@dataclass(slots=True)
class CREATE3resfail:
    """struct CREATE3resfail"""

    dir_wcc: wcc_data


@dataclass(slots=True)
class CREATE3res:
    """union CREATE3res switch (nfsstat3 status)

    - NFS3_OK: CREATE3resok resok
    - default: CREATE3resfail resfail
    """

    status: nfsstat3
    value: Annotated[
        CREATE3resok | CREATE3resfail,
        xdr.Switch(
            {
                nfsstat3.NFS3_OK: CREATE3resok,
            },
            default=CREATE3resfail,
        ),
    ]


@dataclass(slots=True)
class MKDIR3args:
    """struct MKDIR3args"""

    where: diropargs3
    attributes: sattr3


@dataclass(slots=True)
class MKDIR3resok:
    """struct MKDIR3resok"""

    obj: post_op_fh3
    obj_attributes: post_op_attr
    dir_wcc: wcc_data


@dataclass(slots=True)
class MKDIR3resfail:
    """struct MKDIR3resfail"""

    dir_wcc: wcc_data


@dataclass(slots=True)
class MKDIR3res:
    """union MKDIR3res switch (nfsstat3 status)

    - NFS3_OK: MKDIR3resok resok
    - default: MKDIR3resfail resfail
    """

    status: nfsstat3
    value: Annotated[
        MKDIR3resok | MKDIR3resfail,
        xdr.Switch(
            {
                nfsstat3.NFS3_OK: MKDIR3resok,
            },
            default=MKDIR3resfail,
        ),
    ]


@dataclass(slots=True)
class symlinkdata3:
    """struct symlinkdata3"""

    symlink_attributes: sattr3
    symlink_data: nfspath3


@dataclass(slots=True)
class SYMLINK3args:
    """struct SYMLINK3args"""

    where: diropargs3
    symlink: symlinkdata3


@dataclass(slots=True)
class SYMLINK3resok:
    """struct SYMLINK3resok"""

    obj: post_op_fh3
    obj_attributes: post_op_attr
    dir_wcc: wcc_data


@dataclass(slots=True)
class SYMLINK3resfail:
    """struct SYMLINK3resfail"""

    dir_wcc: wcc_data


@dataclass(slots=True)
class SYMLINK3res:
    """union SYMLINK3res switch (nfsstat3 status)

    - NFS3_OK: SYMLINK3resok resok
    - default: SYMLINK3resfail resfail
    """

    status: nfsstat3
    value: Annotated[
        SYMLINK3resok | SYMLINK3resfail,
        xdr.Switch(
            {
                nfsstat3.NFS3_OK: SYMLINK3resok,
            },
            default=SYMLINK3resfail,
        ),
    ]


@dataclass(slots=True)
class devicedata3:
    """struct devicedata3"""

    dev_attributes: sattr3
    spec: specdata3


@dataclass(slots=True)
class mknoddata3:
    """union mknoddata3 switch (ftype3 type)

    - NF3CHR, NF3BLK: devicedata3 device
    - NF3SOCK, NF3FIFO: sattr3 pipe_attributes
    - default: void
    """

    type: ftype3
    value: Annotated[
        devicedata3 | sattr3 | None,
        xdr.Switch(
            {
                ftype3.NF3CHR: devicedata3,
                ftype3.NF3BLK: devicedata3,
                ftype3.NF3SOCK: sattr3,
                ftype3.NF3FIFO: sattr3,
            },
            default=None,
        ),
    ] = None


@dataclass(slots=True)
class MKNOD3args:
    """struct MKNOD3args"""

    where: diropargs3
    what: mknoddata3


@dataclass(slots=True)
class MKNOD3resok:
    """struct MKNOD3resok"""

    obj: post_op_fh3
    obj_attributes: post_op_attr
    dir_wcc: wcc_data


@dataclass(slots=True)
class MKNOD3resfail:
    """struct MKNOD3resfail"""

    dir_wcc: wcc_data


@dataclass(slots=True)
class MKNOD3res:
    """union MKNOD3res switch (nfsstat3 status)

    - NFS3_OK: MKNOD3resok resok
    - default: MKNOD3resfail resfail
    """

    status: nfsstat3
    value: Annotated[
        MKNOD3resok | MKNOD3resfail,
        xdr.Switch(
            {
                nfsstat3.NFS3_OK: MKNOD3resok,
            },
            default=MKNOD3resfail,
        ),
    ]


@dataclass(slots=True)
class REMOVE3args:
    """struct REMOVE3args"""

    object: diropargs3


@dataclass(slots=True)
class REMOVE3resok:
    """struct REMOVE3resok"""

    dir_wcc: wcc_data


@dataclass(slots=True)
class REMOVE3resfail:
    """struct REMOVE3resfail"""

    dir_wcc: wcc_data


@dataclass(slots=True)
class REMOVE3res:
    """union REMOVE3res switch (nfsstat3 status)

    - NFS3_OK: REMOVE3resok resok
    - default: REMOVE3resfail resfail
    """

    status: nfsstat3
    value: Annotated[
        REMOVE3resok | REMOVE3resfail,
        xdr.Switch(
            {
                nfsstat3.NFS3_OK: REMOVE3resok,
            },
            default=REMOVE3resfail,
        ),
    ]


@dataclass(slots=True)
class RMDIR3args:
    """struct RMDIR3args"""

    object: diropargs3


@dataclass(slots=True)
class RMDIR3resok:
    """struct RMDIR3resok"""

    dir_wcc: wcc_data


@dataclass(slots=True)
class RMDIR3resfail:
    """struct RMDIR3resfail"""

    dir_wcc: wcc_data


@dataclass(slots=True)
class RMDIR3res:
    """union RMDIR3res switch (nfsstat3 status)

    - NFS3_OK: RMDIR3resok resok
    - default: RMDIR3resfail resfail
    """

    status: nfsstat3
    value: Annotated[
        RMDIR3resok | RMDIR3resfail,
        xdr.Switch(
            {
                nfsstat3.NFS3_OK: RMDIR3resok,
            },
            default=RMDIR3resfail,
        ),
    ]


@dataclass(slots=True)
class RENAME3args:
    """struct RENAME3args"""

    from_: diropargs3
    to: diropargs3


@dataclass(slots=True)
class RENAME3resok:
    """struct RENAME3resok"""

    fromdir_wcc: wcc_data
    todir_wcc: wcc_data


@dataclass(slots=True)
class RENAME3resfail:
    """struct RENAME3resfail"""

    fromdir_wcc: wcc_data
    todir_wcc: wcc_data


@dataclass(slots=True)
class RENAME3res:
    """union RENAME3res switch (nfsstat3 status)

    - NFS3_OK: RENAME3resok resok
    - default: RENAME3resfail resfail
    """

    status: nfsstat3
    value: Annotated[
        RENAME3resok | RENAME3resfail,
        xdr.Switch(
            {
                nfsstat3.NFS3_OK: RENAME3resok,
            },
            default=RENAME3resfail,
        ),
    ]


@dataclass(slots=True)
class LINK3args:
    """struct LINK3args"""

    file: nfs_fh3
    link: diropargs3


@dataclass(slots=True)
class LINK3resok:
    """struct LINK3resok"""

    file_attributes: post_op_attr
    linkdir_wcc: wcc_data


@dataclass(slots=True)
class LINK3resfail:
    """struct LINK3resfail"""

    file_attributes: post_op_attr
    linkdir_wcc: wcc_data


@dataclass(slots=True)
class LINK3res:
    """union LINK3res switch (nfsstat3 status)

    - NFS3_OK: LINK3resok resok
    - default: LINK3resfail resfail
    """

    status: nfsstat3
    value: Annotated[
        LINK3resok | LINK3resfail,
        xdr.Switch(
            {
                nfsstat3.NFS3_OK: LINK3resok,
            },
            default=LINK3resfail,
        ),
    ]


@dataclass(slots=True)
class READDIR3args:
    """struct READDIR3args"""

    dir: nfs_fh3
    cookie: cookie3
    cookieverf: cookieverf3
    count: count3


@dataclass(slots=True)
class entry3:
    """struct entry3"""

    fileid: fileid3
    name: filename3
    cookie: cookie3
    nextentry: entry3 | None


@dataclass(slots=True)
class dirlist3:
    """struct dirlist3"""

    entries: entry3 | None
    eof: bool


@dataclass(slots=True)
class READDIR3resok:
    """struct READDIR3resok"""

    dir_attributes: post_op_attr
    cookieverf: cookieverf3
    reply: dirlist3


@dataclass(slots=True)
class READDIR3resfail:
    """struct READDIR3resfail"""

    dir_attributes: post_op_attr


@dataclass(slots=True)
class READDIR3res:
    """union READDIR3res switch (nfsstat3 status)

    - NFS3_OK: READDIR3resok resok
    - default: READDIR3resfail resfail
    """

    status: nfsstat3
    value: Annotated[
        READDIR3resok | READDIR3resfail,
        xdr.Switch(
            {
                nfsstat3.NFS3_OK: READDIR3resok,
            },
            default=READDIR3resfail,
        ),
    ]


@dataclass(slots=True)
class READDIRPLUS3args:
    """struct READDIRPLUS3args"""

    dir: nfs_fh3
    cookie: cookie3
    cookieverf: cookieverf3
    dircount: count3
    maxcount: count3


@dataclass(slots=True)
class entryplus3:
    """struct entryplus3"""

    fileid: fileid3
    name: filename3
    cookie: cookie3
    name_attributes: post_op_attr
    name_handle: post_op_fh3
    nextentry: entryplus3 | None


@dataclass(slots=True)
class dirlistplus3:
    """struct dirlistplus3"""

    entries: entryplus3 | None
    eof: bool


@dataclass(slots=True)
class READDIRPLUS3resok:
    """struct READDIRPLUS3resok"""

    dir_attributes: post_op_attr
    cookieverf: cookieverf3
    reply: dirlistplus3


@dataclass(slots=True)
class READDIRPLUS3resfail:
    """struct READDIRPLUS3resfail"""

    dir_attributes: post_op_attr


@dataclass(slots=True)
class READDIRPLUS3res:
    """union READDIRPLUS3res switch (nfsstat3 status)

    - NFS3_OK: READDIRPLUS3resok resok
    - default: READDIRPLUS3resfail resfail
    """

    status: nfsstat3
    value: Annotated[
        READDIRPLUS3resok | READDIRPLUS3resfail,
        xdr.Switch(
            {
                nfsstat3.NFS3_OK: READDIRPLUS3resok,
            },
            default=READDIRPLUS3resfail,
        ),
    ]


@dataclass(slots=True)
class FSSTAT3args:
    """struct FSSTAT3args"""

    fsroot: nfs_fh3


@dataclass(slots=True)
class FSSTAT3resok:
    """struct FSSTAT3resok"""

    obj_attributes: post_op_attr
    tbytes: size3
    fbytes: size3
    abytes: size3
    tfiles: size3
    ffiles: size3
    afiles: size3
    invarsec: xdr.UInt


@dataclass(slots=True)
class FSSTAT3resfail:
    """struct FSSTAT3resfail"""

    obj_attributes: post_op_attr


@dataclass(slots=True)
class FSSTAT3res:
    """union FSSTAT3res switch (nfsstat3 status)

    - NFS3_OK: FSSTAT3resok resok
    - default: FSSTAT3resfail resfail
    """

    status: nfsstat3
    value: Annotated[
        FSSTAT3resok | FSSTAT3resfail,
        xdr.Switch(
            {
                nfsstat3.NFS3_OK: FSSTAT3resok,
            },
            default=FSSTAT3resfail,
        ),
    ]


FSF3_LINK = 0x0001
FSF3_SYMLINK = 0x0002
FSF3_HOMOGENEOUS = 0x0008
FSF3_CANSETTIME = 0x0010


@dataclass(slots=True)
class FSINFO3args:
    """struct FSINFO3args"""

    fsroot: nfs_fh3


@dataclass(slots=True)
class FSINFO3resok:
    """struct FSINFO3resok"""

    obj_attributes: post_op_attr
    rtmax: xdr.UInt
    rtpref: xdr.UInt
    rtmult: xdr.UInt
    wtmax: xdr.UInt
    wtpref: xdr.UInt
    wtmult: xdr.UInt
    dtpref: xdr.UInt
    maxfilesize: size3
    time_delta: nfstime3
    properties: xdr.UInt


@dataclass(slots=True)
class FSINFO3resfail:
    """struct FSINFO3resfail"""

    obj_attributes: post_op_attr


@dataclass(slots=True)
class FSINFO3res:
    """union FSINFO3res switch (nfsstat3 status)

    - NFS3_OK: FSINFO3resok resok
    - default: FSINFO3resfail resfail
    """

    status: nfsstat3
    value: Annotated[
        FSINFO3resok | FSINFO3resfail,
        xdr.Switch(
            {
                nfsstat3.NFS3_OK: FSINFO3resok,
            },
            default=FSINFO3resfail,
        ),
    ]


@dataclass(slots=True)
class PATHCONF3args:
    """struct PATHCONF3args"""

    object: nfs_fh3


@dataclass(slots=True)
class PATHCONF3resok:
    """struct PATHCONF3resok"""

    obj_attributes: post_op_attr
    linkmax: xdr.UInt
    name_max: xdr.UInt
    no_trunc: bool
    chown_restricted: bool
    case_insensitive: bool
    case_preserving: bool


@dataclass(slots=True)
class PATHCONF3resfail:
    """struct PATHCONF3resfail"""

    obj_attributes: post_op_attr


@dataclass(slots=True)
class PATHCONF3res:
    """union PATHCONF3res switch (nfsstat3 status)

    - NFS3_OK: PATHCONF3resok resok
    - default: PATHCONF3resfail resfail
    """

    status: nfsstat3
    value: Annotated[
        PATHCONF3resok | PATHCONF3resfail,
        xdr.Switch(
            {
                nfsstat3.NFS3_OK: PATHCONF3resok,
            },
            default=PATHCONF3resfail,
        ),
    ]


@dataclass(slots=True)
class COMMIT3args:
    """struct COMMIT3args"""

    file: nfs_fh3
    offset: offset3
    count: count3


@dataclass(slots=True)
class COMMIT3resok:
    """struct COMMIT3resok"""

    file_wcc: wcc_data
    verf: writeverf3


@dataclass(slots=True)
class COMMIT3resfail:
    """struct COMMIT3resfail"""

    file_wcc: wcc_data


@dataclass(slots=True)
class COMMIT3res:
    """union COMMIT3res switch (nfsstat3 status)

    - NFS3_OK: COMMIT3resok resok
    - default: COMMIT3resfail resfail
    """

    status: nfsstat3
    value: Annotated[
        COMMIT3resok | COMMIT3resfail,
        xdr.Switch(
            {
                nfsstat3.NFS3_OK: COMMIT3resok,
            },
            default=COMMIT3resfail,
        ),
    ]


class NFS_V3(Version):
    """version NFS_V3 = 3 of program NFS_PROGRAM"""

    program = 100003
    version = 3
    procedures = {
        0: Procedure(0, "NFSPROC3_NULL", (), None),
        1: Procedure(1, "NFSPROC3_GETATTR", (GETATTR3args,), GETATTR3res),
        2: Procedure(2, "NFSPROC3_SETATTR", (SETATTR3args,), SETATTR3res),
        3: Procedure(3, "NFSPROC3_LOOKUP", (LOOKUP3args,), LOOKUP3res),
        4: Procedure(4, "NFSPROC3_ACCESS", (ACCESS3args,), ACCESS3res),
        5: Procedure(5, "NFSPROC3_READLINK", (READLINK3args,), READLINK3res),
        6: Procedure(6, "NFSPROC3_READ", (READ3args,), READ3res),
        7: Procedure(7, "NFSPROC3_WRITE", (WRITE3args,), WRITE3res),
        8: Procedure(8, "NFSPROC3_CREATE", (CREATE3args,), CREATE3res),
        9: Procedure(9, "NFSPROC3_MKDIR", (MKDIR3args,), MKDIR3res),
        10: Procedure(10, "NFSPROC3_SYMLINK", (SYMLINK3args,), SYMLINK3res),
        11: Procedure(11, "NFSPROC3_MKNOD", (MKNOD3args,), MKNOD3res),
        12: Procedure(12, "NFSPROC3_REMOVE", (REMOVE3args,), REMOVE3res),
        13: Procedure(13, "NFSPROC3_RMDIR", (RMDIR3args,), RMDIR3res),
        14: Procedure(14, "NFSPROC3_RENAME", (RENAME3args,), RENAME3res),
        15: Procedure(15, "NFSPROC3_LINK", (LINK3args,), LINK3res),
        16: Procedure(16, "NFSPROC3_READDIR", (READDIR3args,), READDIR3res),
        17: Procedure(17, "NFSPROC3_READDIRPLUS", (READDIRPLUS3args,), READDIRPLUS3res),
        18: Procedure(18, "NFSPROC3_FSSTAT", (FSSTAT3args,), FSSTAT3res),
        19: Procedure(19, "NFSPROC3_FSINFO", (FSINFO3args,), FSINFO3res),
        20: Procedure(20, "NFSPROC3_PATHCONF", (PATHCONF3args,), PATHCONF3res),
        21: Procedure(21, "NFSPROC3_COMMIT", (COMMIT3args,), COMMIT3res),
    }

    @declared
    def NFSPROC3_NULL(self) -> Made[None]:
        """procedure NFSPROC3_NULL = 0"""
        raise NotImplementedError

    @declared
    def NFSPROC3_GETATTR(self, argument: GETATTR3args, /) -> Made[GETATTR3res]:
        """procedure NFSPROC3_GETATTR = 1"""
        raise NotImplementedError

    @declared
    def NFSPROC3_SETATTR(self, argument: SETATTR3args, /) -> Made[SETATTR3res]:
        """procedure NFSPROC3_SETATTR = 2"""
        raise NotImplementedError

    @declared
    def NFSPROC3_LOOKUP(self, argument: LOOKUP3args, /) -> Made[LOOKUP3res]:
        """procedure NFSPROC3_LOOKUP = 3"""
        raise NotImplementedError

    @declared
    def NFSPROC3_ACCESS(self, argument: ACCESS3args, /) -> Made[ACCESS3res]:
        """procedure NFSPROC3_ACCESS = 4"""
        raise NotImplementedError

    @declared
    def NFSPROC3_READLINK(self, argument: READLINK3args, /) -> Made[READLINK3res]:
        """procedure NFSPROC3_READLINK = 5"""
        raise NotImplementedError

    @declared
    def NFSPROC3_READ(self, argument: READ3args, /) -> Made[READ3res]:
        """procedure NFSPROC3_READ = 6"""
        raise NotImplementedError

    @declared
    def NFSPROC3_WRITE(self, argument: WRITE3args, /) -> Made[WRITE3res]:
        """procedure NFSPROC3_WRITE = 7"""
        raise NotImplementedError

    @declared
    def NFSPROC3_CREATE(self, argument: CREATE3args, /) -> Made[CREATE3res]:
        """procedure NFSPROC3_CREATE = 8"""
        raise NotImplementedError

    @declared
    def NFSPROC3_MKDIR(self, argument: MKDIR3args, /) -> Made[MKDIR3res]:
        """procedure NFSPROC3_MKDIR = 9"""
        raise NotImplementedError

    @declared
    def NFSPROC3_SYMLINK(self, argument: SYMLINK3args, /) -> Made[SYMLINK3res]:
        """procedure NFSPROC3_SYMLINK = 10"""
        raise NotImplementedError

    @declared
    def NFSPROC3_MKNOD(self, argument: MKNOD3args, /) -> Made[MKNOD3res]:
        """procedure NFSPROC3_MKNOD = 11"""
        raise NotImplementedError

    @declared
    def NFSPROC3_REMOVE(self, argument: REMOVE3args, /) -> Made[REMOVE3res]:
        """procedure NFSPROC3_REMOVE = 12"""
        raise NotImplementedError

    @declared
    def NFSPROC3_RMDIR(self, argument: RMDIR3args, /) -> Made[RMDIR3res]:
        """procedure NFSPROC3_RMDIR = 13"""
        raise NotImplementedError

    @declared
    def NFSPROC3_RENAME(self, argument: RENAME3args, /) -> Made[RENAME3res]:
        """procedure NFSPROC3_RENAME = 14"""
        raise NotImplementedError

    @declared
    def NFSPROC3_LINK(self, argument: LINK3args, /) -> Made[LINK3res]:
        """procedure NFSPROC3_LINK = 15"""
        raise NotImplementedError

    @declared
    def NFSPROC3_READDIR(self, argument: READDIR3args, /) -> Made[READDIR3res]:
        """procedure NFSPROC3_READDIR = 16"""
        raise NotImplementedError

    @declared
    def NFSPROC3_READDIRPLUS(self, argument: READDIRPLUS3args, /) -> Made[READDIRPLUS3res]:
        """procedure NFSPROC3_READDIRPLUS = 17"""
        raise NotImplementedError

    @declared
    def NFSPROC3_FSSTAT(self, argument: FSSTAT3args, /) -> Made[FSSTAT3res]:
        """procedure NFSPROC3_FSSTAT = 18"""
        raise NotImplementedError

    @declared
    def NFSPROC3_FSINFO(self, argument: FSINFO3args, /) -> Made[FSINFO3res]:
        """procedure NFSPROC3_FSINFO = 19"""
        raise NotImplementedError

    @declared
    def NFSPROC3_PATHCONF(self, argument: PATHCONF3args, /) -> Made[PATHCONF3res]:
        """procedure NFSPROC3_PATHCONF = 20"""
        raise NotImplementedError

    @declared
    def NFSPROC3_COMMIT(self, argument: COMMIT3args, /) -> Made[COMMIT3res]:
        """procedure NFSPROC3_COMMIT = 21"""
        raise NotImplementedError


class NFS_V3_client(VersionClient):
    """Calls version NFS_V3 = 3 of program NFS_PROGRAM."""

    version = NFS_V3

    def NFSPROC3_NULL(self) -> None:
        """procedure NFSPROC3_NULL = 0"""
        self._call(0)

    def NFSPROC3_GETATTR(self, argument: GETATTR3args, /) -> GETATTR3res:
        """procedure NFSPROC3_GETATTR = 1"""
        result: GETATTR3res = self._call(1, argument)
        return result

    def NFSPROC3_SETATTR(self, argument: SETATTR3args, /) -> SETATTR3res:
        """procedure NFSPROC3_SETATTR = 2"""
        result: SETATTR3res = self._call(2, argument)
        return result

    def NFSPROC3_LOOKUP(self, argument: LOOKUP3args, /) -> LOOKUP3res:
        """procedure NFSPROC3_LOOKUP = 3"""
        result: LOOKUP3res = self._call(3, argument)
        return result

    def NFSPROC3_ACCESS(self, argument: ACCESS3args, /) -> ACCESS3res:
        """procedure NFSPROC3_ACCESS = 4"""
        result: ACCESS3res = self._call(4, argument)
        return result

    def NFSPROC3_READLINK(self, argument: READLINK3args, /) -> READLINK3res:
        """procedure NFSPROC3_READLINK = 5"""
        result: READLINK3res = self._call(5, argument)
        return result

    def NFSPROC3_READ(self, argument: READ3args, /) -> READ3res:
        """procedure NFSPROC3_READ = 6"""
        result: READ3res = self._call(6, argument)
        return result

    def NFSPROC3_WRITE(self, argument: WRITE3args, /) -> WRITE3res:
        """procedure NFSPROC3_WRITE = 7"""
        result: WRITE3res = self._call(7, argument)
        return result

    def NFSPROC3_CREATE(self, argument: CREATE3args, /) -> CREATE3res:
        """procedure NFSPROC3_CREATE = 8"""
        result: CREATE3res = self._call(8, argument)
        return result

    def NFSPROC3_MKDIR(self, argument: MKDIR3args, /) -> MKDIR3res:
        """procedure NFSPROC3_MKDIR = 9"""
        result: MKDIR3res = self._call(9, argument)
        return result

    def NFSPROC3_SYMLINK(self, argument: SYMLINK3args, /) -> SYMLINK3res:
        """procedure NFSPROC3_SYMLINK = 10"""
        result: SYMLINK3res = self._call(10, argument)
        return result

    def NFSPROC3_MKNOD(self, argument: MKNOD3args, /) -> MKNOD3res:
        """procedure NFSPROC3_MKNOD = 11"""
        result: MKNOD3res = self._call(11, argument)
        return result

    def NFSPROC3_REMOVE(self, argument: REMOVE3args, /) -> REMOVE3res:
        """procedure NFSPROC3_REMOVE = 12"""
        result: REMOVE3res = self._call(12, argument)
        return result

    def NFSPROC3_RMDIR(self, argument: RMDIR3args, /) -> RMDIR3res:
        """procedure NFSPROC3_RMDIR = 13"""
        result: RMDIR3res = self._call(13, argument)
        return result

    def NFSPROC3_RENAME(self, argument: RENAME3args, /) -> RENAME3res:
        """procedure NFSPROC3_RENAME = 14"""
        result: RENAME3res = self._call(14, argument)
        return result

    def NFSPROC3_LINK(self, argument: LINK3args, /) -> LINK3res:
        """procedure NFSPROC3_LINK = 15"""
        result: LINK3res = self._call(15, argument)
        return result

    def NFSPROC3_READDIR(self, argument: READDIR3args, /) -> READDIR3res:
        """procedure NFSPROC3_READDIR = 16"""
        result: READDIR3res = self._call(16, argument)
        return result

    def NFSPROC3_READDIRPLUS(self, argument: READDIRPLUS3args, /) -> READDIRPLUS3res:
        """procedure NFSPROC3_READDIRPLUS = 17"""
        result: READDIRPLUS3res = self._call(17, argument)
        return result

    def NFSPROC3_FSSTAT(self, argument: FSSTAT3args, /) -> FSSTAT3res:
        """procedure NFSPROC3_FSSTAT = 18"""
        result: FSSTAT3res = self._call(18, argument)
        return result

    def NFSPROC3_FSINFO(self, argument: FSINFO3args, /) -> FSINFO3res:
        """procedure NFSPROC3_FSINFO = 19"""
        result: FSINFO3res = self._call(19, argument)
        return result

    def NFSPROC3_PATHCONF(self, argument: PATHCONF3args, /) -> PATHCONF3res:
        """procedure NFSPROC3_PATHCONF = 20"""
        result: PATHCONF3res = self._call(20, argument)
        return result

    def NFSPROC3_COMMIT(self, argument: COMMIT3args, /) -> COMMIT3res:
        """procedure NFSPROC3_COMMIT = 21"""
        result: COMMIT3res = self._call(21, argument)
        return result


class NFS_V3_calls(Calls):
    """Calls version NFS_V3 = 3 of program NFS_PROGRAM, inside a reactor."""

    version = NFS_V3

    def NFSPROC3_NULL(self) -> Reply[None]:
        """procedure NFSPROC3_NULL = 0"""
        return self._begin(0)

    def NFSPROC3_GETATTR(self, argument: GETATTR3args, /) -> Reply[GETATTR3res]:
        """procedure NFSPROC3_GETATTR = 1"""
        return self._begin(1, argument)

    def NFSPROC3_SETATTR(self, argument: SETATTR3args, /) -> Reply[SETATTR3res]:
        """procedure NFSPROC3_SETATTR = 2"""
        return self._begin(2, argument)

    def NFSPROC3_LOOKUP(self, argument: LOOKUP3args, /) -> Reply[LOOKUP3res]:
        """procedure NFSPROC3_LOOKUP = 3"""
        return self._begin(3, argument)

    def NFSPROC3_ACCESS(self, argument: ACCESS3args, /) -> Reply[ACCESS3res]:
        """procedure NFSPROC3_ACCESS = 4"""
        return self._begin(4, argument)

    def NFSPROC3_READLINK(self, argument: READLINK3args, /) -> Reply[READLINK3res]:
        """procedure NFSPROC3_READLINK = 5"""
        return self._begin(5, argument)

    def NFSPROC3_READ(self, argument: READ3args, /) -> Reply[READ3res]:
        """procedure NFSPROC3_READ = 6"""
        return self._begin(6, argument)

    def NFSPROC3_WRITE(self, argument: WRITE3args, /) -> Reply[WRITE3res]:
        """procedure NFSPROC3_WRITE = 7"""
        return self._begin(7, argument)

    def NFSPROC3_CREATE(self, argument: CREATE3args, /) -> Reply[CREATE3res]:
        """procedure NFSPROC3_CREATE = 8"""
        return self._begin(8, argument)

    def NFSPROC3_MKDIR(self, argument: MKDIR3args, /) -> Reply[MKDIR3res]:
        """procedure NFSPROC3_MKDIR = 9"""
        return self._begin(9, argument)

    def NFSPROC3_SYMLINK(self, argument: SYMLINK3args, /) -> Reply[SYMLINK3res]:
        """procedure NFSPROC3_SYMLINK = 10"""
        return self._begin(10, argument)

    def NFSPROC3_MKNOD(self, argument: MKNOD3args, /) -> Reply[MKNOD3res]:
        """procedure NFSPROC3_MKNOD = 11"""
        return self._begin(11, argument)

    def NFSPROC3_REMOVE(self, argument: REMOVE3args, /) -> Reply[REMOVE3res]:
        """procedure NFSPROC3_REMOVE = 12"""
        return self._begin(12, argument)

    def NFSPROC3_RMDIR(self, argument: RMDIR3args, /) -> Reply[RMDIR3res]:
        """procedure NFSPROC3_RMDIR = 13"""
        return self._begin(13, argument)

    def NFSPROC3_RENAME(self, argument: RENAME3args, /) -> Reply[RENAME3res]:
        """procedure NFSPROC3_RENAME = 14"""
        return self._begin(14, argument)

    def NFSPROC3_LINK(self, argument: LINK3args, /) -> Reply[LINK3res]:
        """procedure NFSPROC3_LINK = 15"""
        return self._begin(15, argument)

    def NFSPROC3_READDIR(self, argument: READDIR3args, /) -> Reply[READDIR3res]:
        """procedure NFSPROC3_READDIR = 16"""
        return self._begin(16, argument)

    def NFSPROC3_READDIRPLUS(self, argument: READDIRPLUS3args, /) -> Reply[READDIRPLUS3res]:
        """procedure NFSPROC3_READDIRPLUS = 17"""
        return self._begin(17, argument)

    def NFSPROC3_FSSTAT(self, argument: FSSTAT3args, /) -> Reply[FSSTAT3res]:
        """procedure NFSPROC3_FSSTAT = 18"""
        return self._begin(18, argument)

    def NFSPROC3_FSINFO(self, argument: FSINFO3args, /) -> Reply[FSINFO3res]:
        """procedure NFSPROC3_FSINFO = 19"""
        return self._begin(19, argument)

    def NFSPROC3_PATHCONF(self, argument: PATHCONF3args, /) -> Reply[PATHCONF3res]:
        """procedure NFSPROC3_PATHCONF = 20"""
        return self._begin(20, argument)

    def NFSPROC3_COMMIT(self, argument: COMMIT3args, /) -> Reply[COMMIT3res]:
        """procedure NFSPROC3_COMMIT = 21"""
        return self._begin(21, argument)


class NFS_PROGRAM(Program):
    """program NFS_PROGRAM = 100003"""

    program = 100003
    versions = {
        3: NFS_V3,
    }
