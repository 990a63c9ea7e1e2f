"""Hashes of passwords, prepared names, and the store."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import handlers.auth.store as module
from handlers.auth import Credentials, hash_password, verify
from handlers.auth.prepare import saslprep
from tests.support.authentication import COST, DUMMY, PASSWORD, USERS


@given(password=st.text("abcäß ", min_size=1), other=st.text("abcäß ", min_size=1))
def test_a_password_is_right_or_wrong(password, other):
    password, other = password + "x", other + "x"
    store = {"ada": Credentials(password=hash_password(password, **COST))}
    assert verify(store, "ada", saslprep(password), DUMMY)
    assert verify(store, "ada", saslprep(other), DUMMY) == (saslprep(password) == saslprep(other))
    assert not verify(store, "bob", saslprep(password), DUMMY)


def test_a_hash_has_a_salt_of_its_own():
    assert hash_password("x", **COST) != hash_password("x", **COST)


@pytest.mark.parametrize("name", ["ada", "eve", "nobody"])
def test_a_name_is_verified_at_the_same_cost_whether_it_is_known_or_not(name, monkeypatch):
    costs = []
    real = module._scrypt
    monkeypatch.setattr(module, "_scrypt", lambda *arguments: costs.append(arguments[1:4]) or real(*arguments))
    assert verify(USERS, name, PASSWORD, DUMMY) == (name == "ada")
    assert costs == [tuple(COST.values())]


def test_no_password_is_that_of_the_dummy():
    assert not verify({}, "ada", PASSWORD, dummy=hash_password(PASSWORD, **COST))


def test_what_is_secret_is_not_shown():
    shown = repr(USERS["ada"])
    assert shown == "Credentials()"


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),  # these are the examples of RFC 4013, section 3
        ("\u2168", "IX"),
        ("I\u00adX", "IX"),
        ("\u0627\u0628", "\u0627\u0628"),
        ("a\u0308", "ä"),
        ("a\u3000b", "a b"),
    ],
)
def test_names_are_prepared(text, prepared):
    assert saslprep(text) == prepared


@pytest.mark.parametrize("text", ["\u0007", "\u0627\u0031", "", "\u00ad", "a\0b", "\ue000", "\u0221", "\u0627a\u0628"])
def test_what_is_prohibited_is_refused(text):
    with pytest.raises(ValueError, match="the text"):
        saslprep(text)


@given(st.text())
def test_what_is_prepared_stays_as_it_is(text):
    try:
        prepared = saslprep(text)
    except ValueError:
        return
    assert saslprep(prepared) == prepared
