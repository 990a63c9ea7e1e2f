"""The parts of `examples/nfs_server.py`, from the bottom up.

==============  =====================================================================================
`nfs3`          NFS version 3 (RFC 1813), compiled from ``nfs3.x``
`mount3`        MOUNT version 3 (RFC 1813, appendix I), compiled from ``mount3.x``
`handles`       what a file handle has: the identity of an object, and a MAC
`tree`          from a handle or a name to an open object, inside the exported directory
`attributes`    attributes of objects and statuses of errors, as RFC 1813 has them
`listing`       READDIR and READDIRPLUS: cookies and pages
`files`         the procedures of NFS that read, and what all procedures share
`changes`       the procedures of NFS that write
`mounting`      the procedures of MOUNT
==============  =====================================================================================
"""
