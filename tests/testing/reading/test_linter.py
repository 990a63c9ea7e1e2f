"""The linter finds what is wrong, at its line, and nothing in correct handlers."""

import inspect
from importlib import import_module
from pkgutil import walk_packages

import pytest

import handlers
from handlers import StreamHandler, services
from reactor.testing import lint
from reactor.testing.reading.dropped import dropped
from tests.support.examples import EXAMPLES
from tests.support.pairs import broken
from tests.testing.reading.specimens import endings, growth, steps, waits
from tests.testing.reading.specimens.drawn import Finger, Reverse, Secure, Two, Winding
from tests.testing.reading.specimens.marks import FINDINGS

SPECIMENS = [
    kind for module in (waits, growth, endings, steps) for kind in vars(module).values()
    if isinstance(kind, type) and kind.__module__ == module.__name__ and kind in FINDINGS
]  # fmt: skip
WRONG = [pytest.param(kind, FINDINGS[kind], id=kind.__qualname__) for kind in SPECIMENS if FINDINGS[kind]]
RIGHT = [pytest.param(kind, id=kind.__qualname__) for kind in SPECIMENS if not FINDINGS[kind]]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "messages"), WRONG)
def test_each_wrong_specimen_has_its_findings_at_the_marked_lines(kind, messages):
    found = lint(kind)
    assert [finding.message for finding in found] == list(messages)
    lines, first = inspect.getsourcelines(kind)
    marked = [first + number for number, line in enumerate(lines) if "# here" in line]
    assert [finding.line for finding in found] == marked
    assert str(found[0]) == f"{found[0].method}, line {marked[0]}: {messages[0]}"


@pytest.mark.parametrize("kind", RIGHT)
def test_right_specimens_have_no_findings(kind):
    assert lint(kind) == []


SERVICES = [kind for kind in vars(services).values() if getattr(kind, "__module__", "") == services.__name__]
SERVICES = [kind for kind in SERVICES if isinstance(kind, type)]


def test_there_are_ten_services():
    assert len(SERVICES) == 10


@pytest.mark.parametrize("kind", [*SERVICES, Reverse, Secure, Winding, Two, Finger, broken.Mended])
def test_services_and_examples_have_no_findings(kind):
    assert lint(kind) == []


@pytest.mark.slow
def test_no_handler_of_the_package_of_the_examples_or_of_the_tests_drops_a_step():
    names = [module.name for module in walk_packages(handlers.__path__, "handlers.")]
    names += [f"examples.{name}" for name in EXAMPLES]
    kinds = {kind for name in names for kind in vars(import_module(name)).values() if isinstance(kind, type)}
    kinds |= {kind for kind in vars(broken).values() if isinstance(kind, type)}
    kinds = {kind for kind in kinds if hasattr(kind, "handle")}
    assert len(kinds) > 60
    assert [fault for kind in kinds for fault in dropped(kind)] == []


def test_a_class_without_source_is_an_error():
    names = {"StreamHandler": StreamHandler}
    exec("class Made(StreamHandler):\n    def handle(self):\n        return None", names)
    with pytest.raises(OSError, match="there is no source of Made"):
        lint(names["Made"])
