"""The room with the simulated kernel: unchanged servers run over virtual time and an in-memory network, with faults.

A `Reactor` takes its selector, its clock and its network as arguments, and a `World` supplies simulated ones. A run
depends only on its seed or its list of faults: not on the host, on hashes or on real time. Modules, lowest first:

==============  ========================================================================================
``faults``      the kinds of fault, and the plans that inject them
``clock``       virtual time and its queue of events
``links``       the links between addresses: cut, slow or lossy; and the hosts that are down
``wire``        the addresses in use, and how long data takes from one process to another
``flight``      what one end of a TCP stream has sent, and sends again until it is acknowledged
``sockets``     the base of all sockets
``datagrams``   datagram sockets
``streams``     stream sockets
``network``     what one process sees of the kernel: stands in for ``socket`` and ``selectors``
``naming``      looks up host names, for `reactor.names.resolve`
``clients``     scripted clients
``invariants``  what must hold after every step of the loop
``process``     a reactor and its servers
``hosts``       hosts, which crash and restart
``events``      crashes, partitions and slow links at some time
``world``       a reactor or several, their servers and their clients: `World`
``exploring``   draws what happens to the hosts of a scenario, and finds the least that breaks it: `explore`
``chaos``       the same faults, injected into real sockets: `chaotic`
==============  ========================================================================================

This room imports the room ``peers``, and no test library (`plans` and `explore` import Hypothesis when they are
called). Only ``invariants``, ``process`` and ``hosts`` know the internals of the reactor. Nothing here waits in real
time.
"""
