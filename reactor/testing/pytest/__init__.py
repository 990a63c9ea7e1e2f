"""The room with the plugin for pytest and the parts that its fixtures use.

==========  ================================================================================================
``leaks``   finds rows, descriptors, threads and children that a test leaves open: `leaks_nothing`
``served``  a real server that runs in a thread while the test is its client
``plugin``  the fixtures and hooks of pytest; registered as `reactor.testing.plugin`
==========  ================================================================================================

This room may import the rooms ``running`` and ``kernel``; no room imports it. Only ``plugin`` imports the library
pytest, so ``leaks`` and ``served`` also work without it.
"""
