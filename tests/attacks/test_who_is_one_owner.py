"""A caller exceeds the limits of one owner.

Goal: be counted as several owners. Reach: it may assume its role again under another session name,
take any address of its /64, and write an IPv4 address as an IPv6 one.
"""

import pytest

from chalicelib.callers import AuthMode, Caller, identify
from chalicelib.errors import UnauthorizedError

ROLE = "arn:aws:iam::123456789012:role/players"


def of_iam(operators: frozenset[str] = frozenset(), **identity: str) -> Caller:
    return identify(AuthMode.IAM, {}, {"identity": identity}, api_keys=(), operators=operators)


def of_address(address: str) -> str:
    context = {"identity": {"sourceIp": address}}
    return identify(AuthMode.NONE, {}, context, api_keys=(), operators=frozenset()).owner


def test_a_role_assumed_again_is_the_same_owner():
    sessions = [
        of_iam(userArn=f"arn:aws:sts::123456789012:assumed-role/players/{name}")
        for name in ("one", "two", "botocore-session-1700000000", "a@b=c,d.e-f")
    ]
    assert {caller.owner for caller in sessions} == {f"iam:{ROLE}"}
    assert {caller.key_scope for caller in sessions} == {f"iam:{ROLE}"}


def test_without_an_arn_the_name_of_the_session_does_not_count_either():
    assert of_iam(caller="AROAEXAMPLE:one").owner == of_iam(caller="AROAEXAMPLE:two").owner


def test_federated_users_choose_their_names_too():
    found = {
        of_iam(userArn=f"arn:aws-cn:sts::123456789012:federated-user/{name}").owner
        for name in ("ann", "bob")
    }
    assert len(found) == 1


def test_roles_users_and_accounts_stay_apart():
    arns = [
        "arn:aws:sts::123456789012:assumed-role/players/s",
        "arn:aws:sts::123456789012:assumed-role/others/s",
        "arn:aws:sts::210987654321:assumed-role/players/s",
        "arn:aws:iam::123456789012:user/players",
        "arn:aws:iam::123456789012:user/team/players",
        "arn:aws:iam::123456789012:root",
    ]
    assert len({of_iam(userArn=arn).owner for arn in arns}) == len(arns)


def test_an_operator_is_named_by_the_role_or_by_one_session_of_it():
    session = "arn:aws:sts::123456789012:assumed-role/players/one"
    for name in (ROLE, session):
        assert of_iam(frozenset({name}), userArn=session).is_operator
    assert not of_iam(frozenset({session}), userArn=session.replace("one", "two")).is_operator
    assert not of_iam(frozenset({""}), userArn=session).is_operator


def test_all_addresses_of_one_subscriber_are_one_owner():
    found = {
        of_address(address)
        for address in ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:DB8:1:2::a%e0")
    }
    assert found == {"ip:2001:db8:1:2::/64"}
    assert of_address("2001:db8:1:3::1") not in found


@pytest.mark.parametrize("address", ["192.0.2.7", "::ffff:192.0.2.7", "::FFFF:C000:207",
                                     "64:ff9b::192.0.2.7"])  # fmt: skip
def test_an_ipv4_address_is_one_owner_however_it_is_written(address):
    assert of_address(address) == "ip:192.0.2.7"


def test_two_ipv4_addresses_inside_ipv6_are_two_owners():
    assert of_address("::ffff:192.0.2.7") != of_address("::ffff:192.0.2.8")
    assert of_address("64:ff9b::192.0.2.7") != of_address("64:ff9b::192.0.2.8")


@pytest.mark.parametrize("address", ["", "unknown", "no address", "1.2.3.4.5"])
def test_what_is_no_address_is_an_owner_of_its_own(address):
    assert of_address(address) == f"ip:{address or 'unknown'}"


@pytest.mark.parametrize("key", ["\ud800", "\udfff\ud800", "\x00", "é", "x" * 100_000])
def test_a_key_that_is_no_text_is_no_key(key):
    """Lone surrogates come from JSON events that were built by hand."""
    keys = [("ann", "0" * 64)]
    with pytest.raises(UnauthorizedError):
        identify(AuthMode.API_KEY, {"x-api-key": key}, {}, api_keys=keys, operators=frozenset())
