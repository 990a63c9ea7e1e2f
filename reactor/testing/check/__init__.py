"""The room of the properties that every handler should have, and of `check`, which tries them and those of ``costs``.

A property searches for a schedule that breaks it, and prints the smallest one as a test. Modules, lowest first:

===============  ===================================================================================
``told``         the properties of answers that the caller has told
``statements``   the properties of what the source says: steps dropped, calls that block
``ends``         the properties of ends, of the right input and of any
``cuts``         the properties of cuts: of the conversation, and of damaged ones
``apart``        the property of strangers: one request between the halves of another
``overlapping``  the property of two requests of one server that are open at once
``process``      the property of what belongs to the whole process
``modes``        the property of the modes: `same_in_every_mode`
``through``      the properties of a handler behind filters
``bounds``       the property of what waits and requests may hold: `stays_in_bounds`
``counted``      what requests count on the server
``numbered``     a piece that comes again and again: `Repeated`
``tokens``       what a client gives back, in messages that come again
``repeated``     the property of pieces, and of requests, that come many times
``bombs``        the property of what is compressed
``limits``       the property of pieces that are as long as may be
``keys``         the property of the keys of datagrams: any packet has one
``numbers``      the property of binary numbers: any value in each
``lengths``      the property of lengths that say more than is there, or disagree
``headers``      the properties of header fields: the case of names, and fields that a client writes
``refused``      the property of data that is refused
``looping``      the property of answers that come as packets
``cycles``       what is said again and again on one connection
``lapses``       the properties of duplicates, and of clients that are quiet now and then
``slow``         a message of many pieces, and an opening that never ends
``causes``       the properties of causes: those that a handler catches, and a slow client
``sums``         sums in digits behind a text
``relatives``    the properties of bytes that a parser may take for others: numbers, ends
``elements``     elements of BER, and what they are when one is wrapped in itself
``shapes``       what a message may have in itself again
``nested``       the property of what is nested deeper than Python can recurse
``trying``       what is tried of a conversation, and in which order
``checking``     `check`, which tries all properties
===============  ===================================================================================

This room imports the rooms ``running``, ``inputs``, ``costs``, ``reading`` and ``peers``. The function `check` has the
name of this room: write ``from reactor.testing.check import cuts``, because ``import reactor.testing.check.cuts as
cuts`` asks the function for a submodule and fails.
"""
