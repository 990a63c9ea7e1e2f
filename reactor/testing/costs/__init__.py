"""The room of the properties of work: what a handler does for its input may not grow faster than the input.

What runs in Python is counted in lines, what runs in C in bytes gone over and bytes allocated, as far as it can be
counted; the rest is measured. Modules, lowest first:

=============  ==================================================================
``matching``   the property of regular expressions that try ever more ways
``lists``      what lists of many different elements cost
``many``       what binary messages of very many elements cost
``steep``      processor time of a message, which grows with all that came before
``again``      messages that come again very many times
``copies``     bytes that are copied, as far as they are allocated
``wildcards``  signs of a text that come a few times in a row
``linear``     the property of work that grows faster than the input
=============  ==================================================================

This room imports the rooms ``running`` and ``inputs``.
"""
