"""A test that `check` has printed, pasted into a file and run."""

import re
import runpy

import pytest

from reactor import testing
from reactor.testing.running.counting import EndlessLoop
from reactor.testing.running.pristine import pristine


def assert_red_then_green(code, kind, mended, tmp_path, given=(), right=()):
    """The printed test, pasted into a file, fails with the broken handler and passes with the correct one.

    ``given`` are the arguments of the test that fails, such as filters, and ``right`` those of the one that passes.
    """
    path = tmp_path / "pasted.py"
    path.write_text(code)
    module = runpy.run_path(str(path))
    [test] = [value for name, value in module.items() if name.startswith("test_")]
    with pytest.raises((Exception, EndlessLoop)) as failed, pristine(kind):
        test(*given)
    assert not isinstance(failed.value, (NameError, ImportError, SyntaxError))
    test.__globals__[kind.__name__] = mended
    test(*right)


def assert_passes(caught, kind, conversation):
    """The right handler passes the property that has failed for the wrong one."""
    [name] = re.findall(r"^  property (\w+): ", str(caught.value), re.MULTILINE)
    getattr(testing, name)(kind, conversation)


def assert_told(caught, pair, tmp_path):
    """The property has failed for the wrong handler of the pair, in its words, and with such a test."""
    message, _, code = str(caught.value).partition("\n\n")
    assert message.startswith(f"{pair.wrong.__name__}: {pair.told}")
    assert f"_{pair.title}():\n" in code
    assert_red_then_green(code, pair.wrong, pair.right, tmp_path)
    assert_passes(caught, pair.right, pair.conversation)
