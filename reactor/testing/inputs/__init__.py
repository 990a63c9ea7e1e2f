"""The room of what a client sends: conversations, where their messages begin, and how they are cut and damaged.

Modules, lowest first:

==============  ======================================================================================
``budget``      how much a costly property may try
``kindred``     words that may come in the place of a word
``pieces``      the pieces of a conversation: beginnings, and what replaces a part
``shortening``  makes schedules shorter
``choices``     what is drawn, with Hypothesis or quickly: `Choice`
``strategies``  Hypothesis strategies that draw schedules, and the search for the smallest: `smallest`
``tried``       a handler class with the conversation to try it with
``borders``     where the waits of a handler begin in a conversation
``enclosing``   lengths in a message that count a part of it
``holding``     pieces of which a handler holds more and more
``records``     the records at the end of a message, which may come again
``stretched``   conversations with a piece of any length
``stateful``    conversations that rules make: `Conversation`, `rule`
``learned``     what `check` is given as conversation
==============  ======================================================================================

This room imports the room ``running``. What draws, draws with Hypothesis.
"""
