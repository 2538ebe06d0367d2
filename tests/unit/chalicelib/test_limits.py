"""Limits are split into counters whose sum is the limit, and callers are distinguished."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.apps import Limits
from chalicelib.callers import AuthMode, identify
from chalicelib.errors import UnauthorizedError
from chalicelib.sessions.limits import (
    Limit,
    choose,
    counters_of,
    limits_for,
    lowered_at_end,
)


@given(st.integers(1, 100_000))
def test_the_shares_of_a_limit_add_up_to_it(maximum):
    counters = counters_of(Limit("total", maximum, 9))
    assert sum(counter.maximum for counter in counters) == maximum
    assert all(counter.maximum > 0 for counter in counters)
    assert len({counter.key for counter in counters}) == len(counters) <= 16


@given(st.integers(1, 2_000), st.floats(0, 1, exclude_max=True))
def test_every_counter_is_found_before_a_limit_is_called_full(maximum, chance):
    limit, full = Limit("total", maximum, 9), frozenset()
    while (counter := choose(limit, chance, full)) is not None:
        assert counter.key not in full
        full |= {counter.key}
    assert full == {counter.key for counter in counters_of(limit)}


def test_a_request_counts_against_what_is_limited_and_nothing_else():
    none = limits_for(Limits(), app="chat", app_maximum=0, owner="me", now=7.5)
    assert none == []
    limits = Limits(total=10, per_owner=2, per_second=5)
    found = limits_for(limits, app="chat", app_maximum=4, owner="me", now=7.5)
    assert [limit.maximum for limit in found] == [10, 4, 2, 5]
    assert [limit.is_rate for limit in found] == [False, False, False, True]
    assert "me" not in str([limit.scope for limit in found])
    assert [limit.label for limit in found] == [
        "all sessions", "sessions of app chat", "sessions of one owner", "requests a second",
    ]  # fmt: skip


def test_rates_are_not_given_back_at_the_end():
    limits = Limits(total=10, per_second=5)
    found = limits_for(limits, app="chat", app_maximum=0, owner="me", now=7.5)
    counters = [counters_of(limit)[0] for limit in found]
    assert lowered_at_end(counters) == ("limit#total#0",)


ANN = hashlib.sha256(b"open sesame").hexdigest()
KEYS = (("ann", ANN), ("bob", "0" * 64))


def who(mode, headers=None, context=None, operators=()):
    return identify(
        mode, headers or {}, context or {}, api_keys=KEYS, operators=frozenset(operators)
    )


def test_where_nobody_is_asked_addresses_count_and_ids_are_enough():
    caller = who(AuthMode.NONE, context={"identity": {"sourceIp": "192.0.2.1"}})
    other = who(AuthMode.NONE, context={"identity": {"sourceIp": "192.0.2.2"}})
    assert caller.owner == "ip:192.0.2.1"
    assert caller.key_scope == other.key_scope
    assert caller.may_see_session(other.owner)
    assert not caller.may_see(other.owner)
    assert not caller.may_see(caller.owner)  # an address is no proof


def test_an_api_key_names_its_owner():
    ann = who(AuthMode.API_KEY, {"x-api-key": "open sesame"})
    assert ann.owner == "api_key:ann"
    assert not ann.may_see("api_key:bob")
    assert ann.may_see("api_key:ann")
    for headers in ({}, {"x-api-key": ""}, {"x-api-key": "wrong"}, {"x-api-key": ANN}):
        with pytest.raises(UnauthorizedError, match="X-Api-Key"):
            who(AuthMode.API_KEY, headers)


def test_the_gateway_tells_who_signed_or_whose_token_it_was():
    iam = who(AuthMode.IAM, context={"identity": {"userArn": "arn:aws:iam::1:user/ann"}})
    jwt = who(AuthMode.JWT, context={"authorizer": {"claims": {"sub": "ann"}}})
    assert jwt.claims == {"sub": "ann"}
    assert (iam.owner, jwt.owner) == ("iam:arn:aws:iam::1:user/ann", "jwt:ann")


@pytest.mark.parametrize("mode", [AuthMode.IAM, AuthMode.JWT])
@pytest.mark.parametrize("context", [{}, {"identity": None}, {"identity": {}, "authorizer": {}}])
def test_without_the_gateways_word_nobody_gets_in(mode, context):
    with pytest.raises(UnauthorizedError):
        who(mode, context=context)


def test_an_operator_may_see_all():
    operator = who(AuthMode.API_KEY, {"x-api-key": "open sesame"}, operators=["ann"])
    assert operator.may_see("api_key:bob")
    assert operator.may_see(None)
