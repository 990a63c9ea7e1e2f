"""The component: programs as they are, with all that they may import already imported.

A component has no file system, and its modules are those that had been imported when it was made:
so everything that a server may need is imported here.
"""

import importlib
import pkgutil
from contextlib import suppress

import everywhere
import proxy
import wit_world

import handlers
import reactor
import reactor.rows.rowless
import reactor.servers

for package in handlers, reactor, reactor.servers:
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if not module.ispkg and not module.name.endswith("__main__"):
            with suppress(ModuleNotFoundError):  # of ``ssl``, which this host has not: `reactor.tls` needs it
                importlib.import_module(module.name)
reactor.Reactor().close()  # what it prepares for, it imports


class WitWorld(wit_world.WitWorld):
    def run(self, program: str, arguments: list[str]) -> None:
        {"everywhere": everywhere, "proxy": proxy}[program].main(*arguments)
