"""Run a program of a component with the network of this host: python3 run.py COMPONENT PROGRAM [ARGUMENT ...]

In a checkout (the newest wasmtime refuses the sockets):

pip install componentize-py wasmtime==45.0.0
python3 examples/wasi/make.py everywhere.cwasm
python3 examples/wasi/run.py everywhere.cwasm everywhere 7010        then, elsewhere: nc 127.0.0.1 7010

Not for clients who mean harm: one that resets its connection before it is accepted ends the program. The host
accepts it and then finds that it has no peer (ENOTCONN), at which accept() of the component's C library
(wasi-libc) calls abort(); no Python hears of it.
"""

import sys

from wasmtime import Engine, Store, WasiConfig, _bindings
from wasmtime.component import Component, Linker


def main(component: str, program: str, *arguments: str) -> None:
    engine = Engine()
    store = Store(engine)
    wasi = WasiConfig()
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    _bindings.wasi_config_inherit_network(wasi.ptr())  # wasmtime has these two, its Python package no word for them
    _bindings.wasi_config_allow_ip_name_lookup(wasi.ptr(), True)  # without it even an address in digits is refused
    store.set_wasi(wasi)
    linker = Linker(engine)
    linker.add_wasip2()
    instance = linker.instantiate(store, Component.deserialize_file(engine, component))
    run = instance.get_func(store, "run")
    assert run is not None
    run(store, program, list(arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
