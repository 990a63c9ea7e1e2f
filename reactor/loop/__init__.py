"""The loop: it waits for descriptors and for time, and calls sources that are ready and timers that are due.

`loop`         the loop itself
`selecting`    the selectors; its head is an essay on the kernel's traps
`interest`     the only code that registers with a selector
`timers`       deadlines
`watches`      descriptors that a caller asked to watch; the wake-up
`signals`      how signals reach a loop
`children`     forked processes
`descriptors`  the objects that must close their descriptors in a forked child
`kernel`       what the kernel's errors mean; short calls on a socket
`log`          messages, for ``logging`` or for standard error

Nothing here knows a row, a handler or a server: the loop calls an `interest.Source`, whatever it is.
"""
