"""The feed's password is replaced while sessions stream, as docs/operations.md says."""

import pytest

from tests.integration.test_session_redis import connected, numbers, take
from tests.needs import needs_redis
from tests.redis_feed import FeedWriter, RedisProcess


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
                    # Everybody reconnects in the middle of it, with the password that it has.
                    admin.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                    writer.connection = server.connect()
                    writer.put({"n": 3}, "a")
                    for each in (early, late, between):
                        assert numbers(take(each, 1)[0]) == [3]
                admin.call("ACL", "SETUSER", "default", "<old")  # SET: the new one alone
                writer.put({"n": 4}, "a")
                for each in (early, late):  # who is connected stays
                    assert numbers(take(each, 1)[0]) == [4]
        with pytest.raises(OSError, match="WRONGPASS"):
            server.connect()
