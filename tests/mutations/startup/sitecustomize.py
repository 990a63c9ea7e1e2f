"""Plants the mutation that the environment names, in a process that has not imported the source yet.

Python imports a module of this name at its start. Every process that a test starts does so: it needs little.
"""

import os

MUTANT = "REACTOR_MUTANT"
"""The environment variable with the name of a file: the path of the mutated module and its source, as JSON."""


def compile_instead(path, source):
    """Have the loader compile ``source`` for the module with this path."""
    from importlib.machinery import SourceFileLoader

    get_code = SourceFileLoader.get_code

    def get_mutated_code(self, name):
        if os.path.abspath(self.path) == path:
            return compile(source, path, "exec", dont_inherit=True)
        return get_code(self, name)

    SourceFileLoader.get_code = get_mutated_code


if __name__ == "sitecustomize" and MUTANT in os.environ:
    import json

    with open(os.environ[MUTANT]) as file:
        compile_instead(*json.load(file))
