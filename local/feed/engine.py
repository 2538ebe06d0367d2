"""How the records of the stream reach the sessions of a run: through a Redis of the run that the
relay writes to, or by reading the stream in every session.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from chalicelib.contract.fanout import RELAY_USER, SESSION_USER, relay_rules, session_rules
from local.aws.provision import ACCOUNT
from local.cli.options import ROOT, Options
from local.feed.redis_server import NoRedisError, RedisServer, find_program
from local.functions.triggers.delivery import Invoker
from local.functions.triggers.schedules import scheduled_event
from local.hosts.machines import LOOPBACK

KEEP_FEED_WHOLE = "keep_feed_whole"
"""The function of chalicelib/api/feed.py that begins a feed, and refills it."""


class FeedEngine(StrEnum):
    """The two ways."""

    REDIS = "redis"
    DIRECT = "direct"


class RelayError(Exception):
    """The relay fails; the message is the relay's."""


def choose_engine(options: Options) -> FeedEngine:
    """The engine for `--feed-engine` on this machine. Raises NoRedisError if Redis was requested
    and is not available.
    """
    if options.feed_engine == FeedEngine.DIRECT:
        return FeedEngine.DIRECT
    problem = _problem(options)
    if problem is None:
        return FeedEngine.REDIS
    if options.feed_engine == FeedEngine.REDIS:
        raise NoRedisError(problem)
    return FeedEngine.DIRECT


def _problem(options: Options) -> str | None:
    if options.project_dir != ROOT:
        return "another project than this one has no relay"
    if find_program() is None:
        return "neither valkey-server nor redis-server is installed"
    if find_spec("redis") is None:
        return "the Python package redis is missing: install requirements.txt"
    return None


class Feed:
    """The feed of one run. `start` once, then `close` once."""

    def __init__(self, options: Options, stream: str, logs: Path, run_id: str) -> None:
        self._options = options
        self._stream = stream
        self._logs = logs
        self._run_id = run_id
        self._redis: RedisServer | None = None

    def start(self) -> None:
        """Start what it needs. Raises NoRedisError."""
        if choose_engine(self._options) is FeedEngine.REDIS:
            users = {
                SESSION_USER: session_rules(self._stream),
                RELAY_USER: relay_rules(self._stream),
            }
            environment = {"USHER_LOCAL_RUN": self._run_id}
            self._redis = RedisServer(self._logs, environment, users=users)
            self._redis.start()

    @property
    def engine(self) -> FeedEngine:
        """The engine in use after the start."""
        return FeedEngine.REDIS if self._redis else FeedEngine.DIRECT

    @property
    def ports(self) -> tuple[int, ...]:
        """Ports on loopback that containers must reach for it."""
        return (self._redis.port,) if self._redis else ()

    def url(self, addresses: Mapping[int, str]) -> str:
        """FEED_URL; `addresses` as `local.hosts.machines.Machines` has them."""
        if self._redis is None:
            return f"kinesis://{self._stream}"
        return self._redis.url(addresses[self._redis.port], self._stream, SESSION_USER)

    @property
    def relay_url(self) -> str:
        """FEED_RELAY_URL: the relay is no container, and need not find a way back to loopback."""
        if self._redis is None:
            return ""
        return self._redis.url(f"{LOOPBACK}:{self._redis.port}", self._stream, RELAY_USER)

    def begin(self, invoker: Invoker, region: str) -> None:
        """Start the relay now and not with the first record, so that its errors are reported here.

        Raises RelayError, UnreachableError.
        """
        if self._redis is None:
            return
        event = scheduled_event(KEEP_FEED_WHOLE, datetime.now(UTC), region, ACCOUNT)
        outcome = invoker.invoke(KEEP_FEED_WHOLE, event)
        if outcome.error:
            raise RelayError(f"the relay does not work: {outcome.payload}")

    @property
    def state(self) -> dict[str, Any]:
        """The feed's part of `GET /_local/state`."""
        if self._redis is None:
            return {"engine": self.engine}
        return {
            "engine": self.engine,
            "redis": {"pid": self._redis.pid, "restarts": self._redis.restarts},
        }

    def kill_redis(self) -> None:
        """Kill Redis without warning, with all its data; another one replaces it.

        Raises KeyError if there is none.
        """
        if self._redis is None:
            raise KeyError("redis")
        self._redis.kill()

    def close(self) -> None:
        """End what was started. Idempotent."""
        if self._redis:
            self._redis.stop()
