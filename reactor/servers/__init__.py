"""What takes requests: the servers, with ``socketserver``'s names and contract.

A server is thin: the public names of ``socketserver``, and one private attribute, ``_srv``, which holds the parts
(`service.Service`): what arrives at its socket (`connections`, `exchanges`), who is let in (`admission`), the
requests that wait for a child or a thread (`queue`), and who drives them (`mode`; the plain mode is here, the others
register from the room ``modes``); `serving` when requests are taken at all, `in_hand` the rows that hooks are about,
`intake` what is asked of what takes arrivals, `last` the end of listening, `heirs` the children of `fork_request`,
`hooks` what becomes of a hook that raises. `base`, `tcp`, `udp` and `unix` are the classes that users derive from,
`access` and `tls` are mix-ins; `wrapped` is what becomes of connections
that the user has wrapped with ``ssl``. `kinds` answers which kind of handler or hook a user has given; `words` is what
a child reports of its request when it exits.
"""
