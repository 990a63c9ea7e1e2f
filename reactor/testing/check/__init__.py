"""The room that tries one handler class without a network.

A schedule says what happens to a request: bytes arrive, time passes, the kernel takes output, the connection ends. A
run makes a schedule happen to the handler's machine and records each call of the machine as source text. A property
searches for a schedule that breaks it, and prints the smallest one as a test. Modules, lowest first:

================  =======================================================================================
``snippets``      values and statements as source text
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
``dropped``       the property of steps that are made and dropped, from the source
``blocking``      the property of calls that block, from the source
``recorded``      conversations in files: the filter `Recording` writes them
``driver``        stands in for the row of a machine: answers the handler, keeps the deadline
``transcript``    the calls of a run as the statements of a test
``calls``         makes the calls of a handler: `make_calls`
``run``           runs a schedule: `play`
``working``       counts the work of a run: `work`
``remaining``     what requests that have ended leave behind: `remains`
``filtered``      runs a schedule through filters, with their peers: `play_through`
``drip``          a slow client, in simulated time: `drip`
``evidence``      compares runs, shortens schedules, writes the assertion that fails
``choices``       what is drawn, with Hypothesis or quickly: `Choice`
``strategies``    Hypothesis strategies that draw schedules, and the search for the smallest: `smallest`
``loopback``      a real server on loopback and its client, in each mode: `ask`
``tried``         a handler class with the conversation to try it with
``borders``       where the waits of a handler begin in a conversation
``apart``         two requests at once, one between the halves of the other
``bombs``         the property of what is compressed: `memory`
``damaged``       the property of damaged conversations that are cut
``headers``       the properties of header fields: the case of names, and fields that a client writes
``keys``          the property of the keys of datagrams: any packet has one
``regions``       what a message may have in itself again, and the lengths that count it
``lapses``        the properties of duplicates, and of clients that are quiet now and then
``lengths``       the property of lengths that say more than is there, or disagree
``looping``       the property of answers that come as packets
``records``       the records at the end of a message, which may come again
``limits``        the property of pieces that are as long as may be
``causes``        the properties of causes: those that a handler catches, and a slow client
``matching``      the property of regular expressions that try ever more ways: `seconds`
``lists``         what lists of many different elements cost
``many``          what binary messages of very many elements cost
``steep``         processor time of a message, which grows with all that came before: `slowdown`
``again``         messages that come again very many times
``wildcards``     signs of a text that come a few times in a row
``linear``        the property of work that grows faster than the input
``numbers``       the property of binary numbers: any value in each
``counted``       what requests count on the server
``numbered``      a piece that comes again and again, with a number in it: `Repeated`
``tokens``        what a client gives back, in messages that come again
``repeated``      the property of pieces, and of requests, that come many times
``modes``         the property of the modes: `same_in_every_mode`
``elements``      elements of BER, and what they are when one is wrapped in itself
``nested``        the property of what is nested deeper than Python can recurse
``process``       the property of what belongs to the whole process: `changed`
``overlapping``   the property of two requests of one server that are open at once
``refused``       the property of data that is refused
``relatives``     the properties of bytes that a parser may take for others: numbers, ends
``through``       the properties of a handler behind filters
``stateful``      conversations that rules make: `Conversation`, `rule`
``learned``       what `check` is given as conversation
``properties``    the properties, and `check`, which tries them all
================  =======================================================================================

This room imports the room ``peers``. Only ``choices``, ``strategies``, ``tried``, ``learned`` and the modules that have
properties import Hypothesis. Only ``loopback`` opens sockets. The function `check` has the name of this room: write
``from reactor.testing.check import run``, because ``import reactor.testing.check.run as run`` asks the function for a
submodule and fails.
"""
