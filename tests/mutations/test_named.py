"""The mutations that are written down: each has one place in the source, and is found."""

import ast
import os
import subprocess
import sys
from functools import lru_cache

import pytest

from tests import ROOT
from tests.mutations.__main__ import in_turn
from tests.mutations.named import MUTATIONS, Mutation


@pytest.mark.slow
def test_each_mutation_is_found():
    command = [sys.executable, "-m", "tests.mutations"]
    repeatable = {**os.environ, "PYTHONHASHSEED": "0"}  # what Hypothesis draws depends on the order of sets
    ended = subprocess.run(command, cwd=ROOT, env=repeatable, capture_output=True, text=True)
    wrong = [line for line in ended.stdout.splitlines() if line.startswith(("fails without", "not found"))]
    assert wrong[:10] == []  # the first lines of a failure are what a summary shows
    count = len(in_turn())
    assert ended.stdout.endswith(f"\n{count} of {count} found\n"), ended.stdout + ended.stderr
    assert ended.returncode == 0


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_mutation_has_one_place_in_the_source(mutation):
    mutant = mutation.mutant()
    assert mutant.source != (ROOT / mutant.path).read_text(), mutant.path
    compile(mutant.source, mutant.path, "exec", dont_inherit=True)


@lru_cache
def fast_tests(module):
    """The names of the tests of a module that are not marked as slow."""
    functions = [node for node in ast.walk(ast.parse((ROOT / module).read_text())) if isinstance(node, ast.FunctionDef)]
    marks = {function.name: map(ast.unparse, function.decorator_list) for function in functions}
    return [f"{module}::{name}" for name, its in marks.items() if "test_" in name and "pytest.mark.slow" not in its]


@pytest.mark.parametrize("mutation", [mutation for mutation in MUTATIONS if mutation.tests], ids=lambda one: one.name)
def test_each_mutation_has_a_fast_test_that_may_find_it(mutation):
    assert any(mutation.takes(test) for module in mutation.modules() for test in fast_tests(module))


def test_a_mutation_that_no_longer_applies_is_an_error():
    stale = Mutation("stale", "what is not there", "")
    with pytest.raises(ValueError, match="'what is not there' stands in the source 0 times"):
        stale.mutant()
