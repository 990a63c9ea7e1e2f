"""The room that runs one handler class without a network, and says what happened.

A schedule says what happens to a request: bytes arrive, time passes, the kernel takes output, the connection ends. A
run makes a schedule happen to the handler's machine and records each call of the machine as source text, so that a
fault is a test to paste. What a run costs and keeps is counted, in lines of Python and in bytes. Modules, lowest first:

================  ===========================================================================
``own``           what belongs to the handler under test, and not to this package
``spreading``     a few of many, evenly spread
``snippets``      values and statements as source text
``forms``         how a number is written into a piece that comes again
``tracing``       tells of each line of Python that runs
``counting``      counts the lines of Python, the bytes touched and the bytes held
``builtin``       counts what functions in C go over: ``join``, ``sum``, checksums
``patterns``      counts what regular expressions go over
``watching``      ends a check because the handler blocks, or does not await a coroutine
``errors``        an exception of a handler in words
``surroundings``  what belongs to the whole process, and restores it
``pristine``      restores the state that requests of a class share
``schedule``      the steps of a schedule
``subject``       the handler class, and the test function that is printed for it
``report``        the form of a failure: `fail`, `held_in_time`
``recorded``      conversations in files: the filter `Recording` writes them
``driver``        stands in for the row of a machine: answers the handler, keeps the deadline
``transcript``    the calls of a run as the statements of a test
``calls``         makes the calls of a handler: `make_calls`
``run``           runs a schedule: `play`
``working``       counts the work of a run: `work`
``copying``       counts the bytes that a run copies: `copied`
``memory``        the memory that a run takes: `memory`
``timing``        the processor time of a run: `seconds`
``courses``       the processor time of a long request, piece by piece: `slowdown`
``remaining``     what requests leave behind when they have ended: `remains`, `changed`
``filtered``      runs a schedule through filters, with their peers: `play_through`
``drip``          a slow client, in simulated time: `drip`
``evidence``      runs that differ, in words and as the assertion that fails
``loopback``      a real server on loopback and its client, in each mode: `ask`
================  ===========================================================================

Nothing here draws examples: this room needs the standard library only. Only ``loopback`` opens sockets. This room
imports the room ``peers``.
"""
