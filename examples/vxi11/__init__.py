"""The parts of `examples/instrument.py`, from the bottom up.

==============  ===========================================================
`vxi11`         VXI-11, compiled from ``vxi11.x``
`scope`         the instrument: its settings, and the answers to commands
`links`         links of clients, their buffers, and the lock of the device
`channels`      the procedures of the core channel and the abort channel
==============  ===========================================================
"""
