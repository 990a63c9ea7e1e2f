"""What a form writes for a number, and the expression for it in a printed test, are the same."""

from hypothesis import given
from hypothesis import strategies as st

from reactor.testing.costs.again import MIXED, SPREAD
from reactor.testing.running.forms import ITSELF, around, binary, digits, following, instead, letters, same

numbers = st.one_of(st.sampled_from([ITSELF, MIXED, SPREAD]), st.integers(0, 70_000).map(following))
orders = st.sampled_from(["big", "little"])
simple = st.one_of(
    st.builds(digits, st.integers(0, 9), numbers),
    st.builds(letters, st.integers(0, 9), numbers),
    st.builds(binary, st.integers(1, 4), numbers, orders),
    st.builds(same, st.binary(max_size=9)),
)
names = st.binary(min_size=1, max_size=2)
forms = st.one_of(
    simple,
    st.builds(around, st.binary(max_size=9), simple, st.binary(max_size=9)),
    st.builds(instead, st.binary(max_size=9), names, simple),
)


@given(forms, st.integers(0, 100_000))
def test_the_expression_gives_what_the_form_writes(form, number):
    assert eval(form.code, {"number": number}) == form.write(number)


@given(st.integers(0, 99_999), st.integers(0, 99_999))
def test_different_numbers_are_written_differently(one, other):
    for form in digits(), letters(), digits(5), letters(5), binary(4), binary(3, order="little"):
        assert (form.write(one) == form.write(other)) is (one == other)
