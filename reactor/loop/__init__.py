"""When: the loop that waits for descriptors and for time, and calls what is ready or due.

`loop` is the loop itself; `selecting` the selectors, with an essay on the kernel's traps at its head; `interest` the
one place that registers with a selector; `timers` what is due when; `watches` the descriptors that a caller asked to
watch, and the wake-up; `signals` how signals reach a loop; `children` forked processes; `descriptors` what a forked
child must close; `kernel` what the kernel's errors mean.

Nothing here knows a row, a handler or a server. What is ready is told through the protocol `interest.Source`.
"""
