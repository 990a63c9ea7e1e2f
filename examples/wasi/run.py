"""Run a component with the network of this host: python3 run.py COMPONENT [ARGUMENT ...]

To make one, and run it, in a checkout (the newest wasmtime refuses the sockets):

pip install componentize-py wasmtime==45.0.0
componentize-py -d examples/wasi/host.wit -w host componentize -p examples/wasi -p examples -p . app -o everywhere.wasm
python3 examples/wasi/run.py everywhere.wasm 7010        then, elsewhere: nc 127.0.0.1 7010
"""

import sys

from wasmtime import Engine, Store, WasiConfig, _bindings
from wasmtime.component import Component, Linker


def main(component: str, *arguments: str) -> None:
    engine = Engine()
    store = Store(engine)
    wasi = WasiConfig()
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    _bindings.wasi_config_inherit_network(wasi.ptr())  # wasmtime has it, its Python package no word for it
    store.set_wasi(wasi)
    linker = Linker(engine)
    linker.add_wasip2()
    instance = linker.instantiate(store, Component.from_file(engine, component))
    run = instance.get_func(store, "run")
    assert run is not None
    run(store, list(arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
