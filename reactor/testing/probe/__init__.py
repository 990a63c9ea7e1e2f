"""The room that probes a running server, in any language: cuts, ends and resets may not change its answers.

``python3 -m reactor.testing probe URL CONVERSATION`` plays a conversation with a server, in every way that a network
may deliver it, and compares the answers with those to the whole conversation. Modules, lowest first:

============  ==============================================================================================
``exchange``  one connection: it sends, waits, ends or resets as its steps say, and holds what has come
``trials``    the properties: the steps that are tried, and what must come of them
``probe``     learns the answers, plays the trials, many at a time, and collects what is wrong
``reports``   the findings as text, as JSON and as JUnit XML
``command``   the command line
============  ==============================================================================================

This room imports the room ``running``. Only ``exchange`` and ``command`` import ``ssl``. The server is real, and so is
the time.
"""
