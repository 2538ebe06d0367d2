"""`local up --feed-engine`: a Redis of the run's own, the relay, and nothing left behind."""

import os
import signal
from importlib.util import find_spec

import pytest

from local.cli.options import Options
from local.feed.engine import FeedEngine, choose_engine
from local.feed.redis_server import NoRedisError, find_program
from tests.integration.conftest import UpFailedError, processes_of, wait_until
from tests.needs import needs_redis


def redis_entries(cloud):
    """Returns the relay's metrics: {metric: value}."""
    _, text = cloud.http("GET", "/metrics")
    lines = [line.split() for line in text.splitlines() if line.startswith("usher_feed")]
    return {name.removeprefix("usher_feed_"): float(value) for name, value in lines}


def put(cloud, count):
    for n in range(count):
        cloud.client("kinesis").put_record(
            StreamName=cloud.stream, Data=b"%d" % n, PartitionKey=f"{n}"
        )


@needs_redis
def test_records_are_relayed_and_a_redis_that_died_is_refilled(start_cloud):
    cloud = start_cloud(feed_engine="redis")
    assert cloud.ready["feed"] == "redis"
    assert cloud.state()["feed"]["engine"] == "redis"
    put(cloud, 20)
    wait_until(lambda: redis_entries(cloud).get("records_relayed_total") == 20)
    cloud.control("POST", "redis/kill")
    wait_until(lambda: cloud.state()["feed"]["redis"]["restarts"] == 1)
    put(cloud, 1)
    wait_until(lambda: redis_entries(cloud).get("records_filled_total", 0) >= 20)
    definition = cloud.client("ecs").describe_task_definition(
        taskDefinition=f"usher-local-{cloud.http('GET', '/session')[1]['app']}"
    )
    assert "taskRoleArn" not in definition["taskDefinition"]


@needs_redis
def test_redis_dies_with_a_run_that_is_killed(start_cloud):
    cloud = start_cloud(feed_engine="redis")
    redis_pid = cloud.state()["feed"]["redis"]["pid"]
    assert redis_pid in processes_of(cloud.run_id)
    os.kill(cloud.ready["pid"], signal.SIGKILL)
    cloud.process.wait()
    wait_until(lambda: redis_pid not in processes_of(cloud.run_id))
    start_cloud(feed_engine="direct")  # removes what is left
    wait_until(lambda: processes_of(cloud.run_id) == [])
    assert not (cloud.folder / cloud.run_id).exists()


def test_the_direct_feed_has_neither_relay_nor_redis(start_cloud):
    cloud = start_cloud(feed_engine="direct")
    assert cloud.ready["feed"] == "direct"
    assert "relay_records" not in {f["name"] for f in cloud.state()["functions"]}
    with pytest.raises(AssertionError):
        cloud.control("POST", "redis/kill")


def test_auto_takes_redis_where_it_is_at_hand(tmp_path, monkeypatch):
    assert choose_engine(Options(feed_engine="direct")) is FeedEngine.DIRECT
    assert choose_engine(Options(project_dir=tmp_path)) is FeedEngine.DIRECT
    if find_program() and find_spec("redis"):
        assert choose_engine(Options()) is FeedEngine.REDIS
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_program() is None
    assert choose_engine(Options()) is FeedEngine.DIRECT
    with pytest.raises(NoRedisError):
        choose_engine(Options(feed_engine="redis"))


def test_a_redis_that_was_asked_for_and_is_missing_ends_the_start(start_cloud, tmp_path):
    with pytest.raises(UpFailedError, match="redis-server"):
        start_cloud(feed_engine="redis", environment={"PATH": str(tmp_path)})
