"""The parts of `examples/nfs_server.py`, from the bottom up.

==============  =====================================================================================
`nfs3`          NFS version 3 (RFC 1813), compiled from ``nfs3.x``
`mount3`        MOUNT version 3 (RFC 1813, appendix I), compiled from ``mount3.x``
`errors`        statuses: for the errors of the system, and for names
`handles`       what a file handle has: the identity of an object, and a MAC
`tree`          from a handle or a name to an open object, inside the exported directory
`attributes`    attributes of objects: as RFC 1813 has them, and how they are set
`listing`       cookies and pages of READDIR and READDIRPLUS
`procedures`    what all procedures of NFS have in common
`reading`       the procedures that change nothing
`writing`       the procedures that change something
`mounting`      the procedures of MOUNT
==============  =====================================================================================
"""
