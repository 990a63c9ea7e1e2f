"""ONC RPC, also called Sun RPC (RFC 5531): XDR, and the compiler of ``.x`` files. No other package imports this one.

==============  ======================================================================================
`xdr`           External Data Representation (RFC 4506), usable alone: types, codecs, `Packer`
`program`       base classes of programs and versions (RFC 5531, section 12)
`language`      compiles a ``.x`` file to a Python module that uses `xdr` and `program`
`command`       ``python3 -m handlers.sunrpc``
==============  ======================================================================================
"""
