"""An attacker has a secret that was replaced, or its hash.

Goal: continue to use it. Reach: the old value, the configuration. Legitimate senders are never
refused: secrets are replaced as docs/operations.md says, and every step accepts the secrets that
senders have then. A deployment replaces functions one by one, so in each step both the
configuration before and the one after it answer, and senders have the old secret, the new one, or
both.
"""

import hashlib
from collections.abc import Iterable

import pytest

from chalicelib.api.sessions import is_routers
from chalicelib.callers import identify
from chalicelib.config import Config, load_config
from chalicelib.errors import ConfigurationError, UnauthorizedError
from tests.integration.test_session_redis import connected, numbers, take
from tests.needs import needs_redis
from tests.redis_feed import FeedWriter, RedisProcess

OLD, NEW = "the old one", "the new one"


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def of_keys(*keys: str) -> Config:
    entries = ",".join(f"ann:{digest(key)}" for key in keys)
    return load_config({"AUTH_MODE": "api_key", "API_KEYS": entries + f",bob:{'0' * 64}"})


def of_router(*keys: str) -> Config:
    return load_config({"ROUTER_KEY": ",".join(map(digest, keys))})


def owner(config: Config, key: str) -> str:
    return identify(
        config.auth_mode, {"x-api-key": key}, {}, api_keys=config.api_keys, operators=frozenset()
    ).owner


STEPS: Iterable[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = (
    # configurations before and after the deployment, and the secrets that senders use then
    ((OLD,), (OLD, NEW), (OLD,)),
    ((OLD, NEW), (OLD, NEW), (OLD, NEW)),
    ((OLD, NEW), (NEW,), (NEW,)),
)


@pytest.mark.parametrize(("before", "after", "sent"), STEPS)
def test_an_api_key_is_replaced_without_a_refusal(before, after, sent):
    for config in (of_keys(*before), of_keys(*after)):
        assert {owner(config, key) for key in sent} == {"api_key:ann"}


@pytest.mark.parametrize(("before", "after", "sent"), STEPS)
def test_a_routers_key_is_replaced_without_a_refusal(before, after, sent):
    for config in (of_router(*before), of_router(*after)):
        assert all(is_routers(key, config.router_keys) for key in sent)


def test_afterwards_the_old_one_is_good_for_nothing():
    with pytest.raises(UnauthorizedError):
        owner(of_keys(NEW), OLD)
    assert not is_routers(OLD, of_router(NEW).router_keys)


def test_the_hash_itself_is_no_key_and_without_hashes_nothing_is():
    assert not is_routers(digest(OLD), of_router(OLD, NEW).router_keys)
    assert not is_routers("", load_config({"ROUTER_KEY": ""}).router_keys)


@pytest.mark.parametrize("value", ["x", f"{'0' * 64};{'1' * 64}", "0" * 63, f"{'0' * 64},x"])
def test_a_list_with_something_else_in_it_is_refused(value):
    with pytest.raises(ConfigurationError, match="ROUTER_KEY"):
        load_config({"ROUTER_KEY": value})
    with pytest.raises(ConfigurationError, match="API_KEYS"):
        load_config({"API_KEYS": f"ann:{value}"})


@needs_redis
def test_the_feeds_password_is_replaced_and_nobody_misses_a_record():
    with RedisProcess(password="old") as server:
        admin, writer = server.connect(), FeedWriter(server)
        with connected(server.url()) as (_, early):
            writer.put({"n": 1}, "a")
            assert numbers(take(early, 1)[0]) == [1]
            admin.call("ACL", "SETUSER", "default", ">new")  # ROTATE: both count
            server.password = "new"
            with connected(server.url()) as (_, late):
                server.password = "old"
                with connected(server.url()) as (_, between):
                    writer.put({"n": 2}, "a")
                    for each in (early, late, between):
                        assert numbers(take(each, 1)[0]) == [2]
                    # All clients reconnect during the change, each with its password.
                    admin.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                    writer.connection = server.connect()
                    writer.put({"n": 3}, "a")
                    for each in (early, late, between):
                        assert numbers(take(each, 1)[0]) == [3]
                admin.call("ACL", "SETUSER", "default", "<old")  # SET: the new one alone
                writer.put({"n": 4}, "a")
                for each in (early, late):  # existing connections stay open
                    assert numbers(take(each, 1)[0]) == [4]
        with pytest.raises(OSError, match="WRONGPASS"):
            server.connect()
