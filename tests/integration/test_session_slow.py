"""Clients that read slowly, at all: they get everything. Clients that read nothing do not stay."""

import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.kinesis_server import FakeKinesis
from tests.needs import needs_redis
from tests.paced_client import PacedClient
from tests.redis_feed import FeedWriter, RedisProcess
from tests.session_process import SessionProcess

LARGE_BYTES = int(0.97 * 1024 * 1024)
KIB = 1024


def large(size=LARGE_BYTES):
    return {"name": "large", "x": "y" * size}


def names(client):
    return [record["data"]["name"] for record in client.records]


def read_story(url, rate, **options):
    """Two small records, a large one, a small one: until the last has come."""
    with PacedClient(url, rate, **options) as client:
        return client.read_until(lambda c: len(c.records) == 4 or c.close_code, 250)


def put_story(put, size=LARGE_BYTES):
    put({"name": "first"})
    put({"name": "second"})
    put(large(size))
    put({"name": "last"})


STORY = ["first", "second", "large", "last"]
BEGINNING = "?cursor=1~h.shardId-000000000000"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext"
    subprocess.run(
        [*command.split(), "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture(scope="module")
def stories(certificate):
    """All clients at once, because each of them takes its time: name -> client."""
    file, key = certificate
    tls = ssl.create_default_context(cafile=str(file))
    found = {}
    with ExitStack() as stack, ThreadPoolExecutor(12) as pool:
        kinesis = stack.enter_context(FakeKinesis())
        put_story(kinesis.put)

        def session(**settings):
            process = SessionProcess(kinesis, **settings)
            return stack.enter_context(process).until_ready().url + BEGINNING

        eager_pings = {"PING_INTERVAL_SECONDS": 2, "PING_TIMEOUT_SECONDS": 3}
        encrypted = stack.enter_context(
            SessionProcess(kinesis, TLS_CERT_FILE=file, TLS_KEY_FILE=key)
        )
        encrypted_url = f"wss://127.0.0.1:{encrypted.port}/{encrypted.uuid}{BEGINNING}"
        found["16 KiB/s"] = pool.submit(read_story, session(), 16 * KIB)
        found["40 KiB/s, eager pings"] = pool.submit(read_story, session(**eager_pings), 40 * KIB)
        found["16 KiB/s over TLS"] = pool.submit(read_story, encrypted_url, 16 * KIB, tls=tls)
        found["compressed"] = pool.submit(
            read_story, session(COMPRESSION="deflate"), 1 * KIB, compress=True
        )
        found["stops for 8.5 s, twice"] = pool.submit(
            read_story, session(), 100 * KIB, pauses=[(100_000, 8.5), (500_000, 8.5)]
        )
        yield {name: future.result() for name, future in found.items()}


@pytest.mark.parametrize(
    "name",
    [
        "16 KiB/s",
        "40 KiB/s, eager pings",
        "16 KiB/s over TLS",
        "compressed",
        "stops for 8.5 s, twice",
    ],
)
def test_a_client_that_takes_bytes_gets_every_record(stories, name):
    client = stories[name]
    assert (names(client), client.close_code, client.dropped) == (STORY, None, False)


def test_small_records_do_not_share_a_message_with_a_large_one(stories):
    first, second, third = [
        [record["data"]["name"] for record in message["records"]]
        for message in stories["16 KiB/s"].messages
        if message["type"] == "records"
    ]
    assert (first, second, third) == (["first", "second"], ["large"], ["last"])


@needs_redis
def test_the_fan_out_feed_waits_for_a_slow_client_too():
    with RedisProcess() as server, ExitStack() as stack:
        writer = FeedWriter(server)
        session = stack.enter_context(SessionProcess(FEED_URL=server.url())).until_ready()
        client = stack.enter_context(PacedClient(session.url, 40 * KIB))
        client.read_until(lambda c: c.messages, 20)
        put_story(writer.put, 1_800_000)
        client.read_until(lambda c: len(c.records) == 4 or c.close_code, 120)
        assert (names(client), client.close_code) == (STORY, None)


def test_one_that_stops_is_sent_away_and_goes_on_from_what_it_got():
    with FakeKinesis() as kinesis, SessionProcess(kinesis) as session:
        put_story(kinesis.put, 2_000_000)
        url = session.until_ready().url + BEGINNING
        with PacedClient(url, 400 * KIB, pauses=[(200_000, 13)]) as client:
            client.read_until(lambda c: c.dropped or c.close_code, 90)
        assert (client.close_code, client.bye["reason"]) == (1013, "slow_client")
        assert client.bye["cursor"] == client.cursor
        assert names(client) == STORY[:3]
        with SessionProcess(kinesis) as again:
            rest = read_story_from(again.until_ready().url, client.cursor)
            assert names(rest) == STORY[3:]


def read_story_from(url, cursor):
    with PacedClient(f"{url}?cursor={cursor}", 400 * KIB) as client:
        return client.read_until(lambda c: c.records, 60)
