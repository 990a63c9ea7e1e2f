"""Of a grid of parameters every pair of values is in a fast test, and every combination in some test."""

from itertools import combinations, product

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.grids import covering, grid


@settings(max_examples=40)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=4), st.integers(1, 2))
def test_any_places_on_so_many_axes_are_in_one_of_the_few_combinations(sizes, together):
    few = covering(sizes, together)
    assert set(few) <= set(product(*map(range, sizes)))
    for axes in combinations(range(len(sizes)), together):
        met = {tuple(places[axis] for axis in axes) for places in few}
        assert met == set(product(*(range(sizes[axis]) for axis in axes)))


@settings(max_examples=40)
@given(st.integers(2, 5), st.integers(2, 5), st.integers(2, 5))
def test_of_three_axes_the_combinations_are_few(one, other, third):
    assert len(covering([one, other, third], 1)) == max(one, other, third)
    assert len(covering([one, other, third], 2)) <= 1.5 * max(one * other, other * third, one * third)


def test_the_combinations_that_no_pair_needs_are_slow():
    names, cases = grid(mode=["select", "fork"], place={"tcp": 1, "unix": 2}, kind=[int, str]).args
    assert names == ["mode", "place", "kind"]
    assert {case.id for case in cases} == {
        "-".join(case) for case in product(["select", "fork"], ["tcp", "unix"], ["int", "str"])
    }
    slow = [case for case in cases if [mark.name for mark in case.marks] == ["slow"]]
    assert (len(cases), len(slow)) == (8, 4)
