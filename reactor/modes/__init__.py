"""Who drives a request: the loop (`select`), a child (`forking`), a thread (`threading`). The caller: ``servers.mode``.

Each module has the mix-in that users derive from and the mode behind it, which the mix-in is registered for. `mailbox`
is how packets reach a child, `mixin` what the mix-ins have in common; `workers` does the work that rows wait for
elsewhere (`Forked`, `Threaded`).
"""
