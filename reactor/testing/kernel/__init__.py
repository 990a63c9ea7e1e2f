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

Scenarios with several hosts (`explore`) find the faults of programs in this table; the tests plant each of the first
twelve. Beside them is what turmoil 0.7 (Rust, tokio) and simloom (Python, asyncio) simulate, as far as their
documentation and sources tell.

==================================================  ======  =======  =======
fault of a program                                  here    turmoil  simloom
==================================================  ======  =======  =======
no timeout, and the peer has crashed silently       yes     yes      no (1)
no new connection after a crash                     yes     yes      yes
a request that is repeated is done twice            yes     yes      yes
an address is kept after the name has got another   yes     no (2)   no (2)
repetitions without a pause                         yes     yes      yes
two primaries in a partition                        yes     yes      yes
requests are accepted although the backend is down  yes     yes      yes
a half-close that is never answered                 yes     yes      yes
datagrams are taken in the order of their arrival   yes     yes      yes
an exchange goes on that the server has forgotten   yes     yes      yes
one read is taken for one message                   yes     no       no
an error comes long after ``send()``                yes     no (3)   no (3)
a race of two tasks at an ``await``                 no (4)  in part  yes
files that were not synced before a crash           no      yes      yes
==================================================  ======  =======  =======

(1) The peers of a host that crashes see a reset at once. (2) A name keeps its address. (3) TCP does not give up:
turmoil sends nothing again, simloom holds the data until the partition heals. (4) There are no tasks; the order of
events is a fault. `explore` and simloom make a schedule smaller; turmoil documents seeds only.

This room imports the room ``peers``, and no test library (`plans` and `explore` import Hypothesis when they are
called). Only ``invariants``, ``process`` and ``hosts`` know the internals of the reactor. Nothing here waits in real
time.
"""
