"""Programs that import modules in every order, each order in a child of its own, and look whether one exists twice."""

UNIQUE = """
import os, sys
from importlib import import_module

def each_module_exists_once():
    files = [getattr(module, "__file__", None) for module in set(sys.modules.values())]
    files = [os.path.realpath(file) for file in files if file]
    assert len(files) == len(set(files)), [file for file in files if files.count(file) > 1]
"""

ORDERS = """
from itertools import permutations

def in_every_order(names, check):
    for order in permutations(names):
        pid = os.fork()
        if not pid:
            status = 1
            try:
                for name in order:
                    import_module(name)
                check()
                status = 0
            except BaseException as error:
                print(*order, repr(error), sep=", ", flush=True)
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        print("passed")
"""
