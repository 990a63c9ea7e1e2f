"""The component: `everywhere.py`, as it is, with all that it may import already imported.

A component has no file system, and its modules are those that had been imported when it was made:
so everything that a server may need is imported here.
"""

import importlib
import pkgutil

import everywhere
import wit_world

import handlers
import reactor

for package in handlers, reactor:
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if not module.ispkg and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
reactor.Reactor().close()  # what it prepares for, it imports


class WitWorld(wit_world.WitWorld):
    def run(self, arguments: list[str]) -> None:
        everywhere.main(*arguments)
