"""Counted work, while something else looks at what runs."""

import cProfile
import sys

from handlers.services import Echo
from reactor.testing import work


def test_work_is_counted_under_a_profile_that_goes_on_afterwards():
    profile = cProfile.Profile()
    work(Echo, [b"a"] * 20)  # what is made once
    plain = work(Echo, [b"a"] * 20)
    profile.enable()
    try:
        before = sys.getprofile()
        assert work(Echo, [b"a"] * 20) == plain
        assert sys.getprofile() is before
    finally:
        profile.disable()
