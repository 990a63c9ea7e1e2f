"""ONC RPC, called Sun RPC (RFC 5531), and what it is made of. Nothing else imports this package.

==============  ======================================================================================
`xdr`           External Data Representation (RFC 4506), usable alone: types, codecs, `Packer`
`program`       programs, versions and procedures, as classes
`language`      compiles a ``.x`` file to a Python module of both
`command`       ``python3 -m handlers.sunrpc``
==============  ======================================================================================
"""
