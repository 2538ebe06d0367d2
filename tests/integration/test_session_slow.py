"""Clients that read slowly, at all: they get everything. Clients that read nothing do not stay."""

import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import pytest

from tests.kinesis_server import FakeKinesis
from tests.needs import needs_redis
from tests.paced_client import PacedClient
from tests.redis_feed import FeedWriter, RedisProcess
from tests.session_process import SessionProcess

KIB = 1024
MIB = 1024 * KIB
LARGEST = 4 * MIB - KIB
"""A session passes on records of up to 4 MiB."""


def large(size):
    return {"name": "large", "x": "y" * size}


def names(client):
    return [record["data"]["name"] for record in client.records]


def read_story(url, rate, **options):
    """Receive two small records, a large one and a small one, until the last has arrived."""
    with PacedClient(url, rate, **options) as client:
        return client.read_until(lambda c: len(c.records) == 4 or c.close_code, 250)


def put_story(put, size):
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


EAGER = {"PING_INTERVAL_SECONDS": 2, "PING_TIMEOUT_SECONDS": 3}
"""A pong waits behind all unread data: with these settings a client that needs over five seconds
for a record behaves as a usual one does after forty.
"""


@dataclass(frozen=True)
class Told:
    """A client: the size of the large record, how it reads, and the session's settings."""

    size: int
    rate: int
    settings: dict = field(default_factory=dict)
    client: dict = field(default_factory=dict)


STORIES = {
    "4 KiB/s": Told(100 * KIB, 4 * KIB, EAGER),
    "48 KiB/s": Told(int(0.97 * MIB), 48 * KIB, EAGER),
    "16 KiB/s": Told(400 * KIB, 16 * KIB),
    "64 KiB/s": Told(int(1.5 * MIB), 64 * KIB, EAGER),
    "256 KiB/s": Told(LARGEST, 256 * KIB, EAGER),
    "compressed": Told(MIB, KIB, {"COMPRESSION": "deflate"}, {"compress": True}),
    "stops for 8.5 s, twice": Told(
        MIB, 150 * KIB, client={"pauses": [(100_000, 8.5), (500_000, 8.5)]}
    ),
}
RESUMED = {
    "0.2 MiB": (MIB // 5, 16 * KIB),
    "1 MiB": (MIB, 100 * KIB),
    "4 MiB": (LARGEST, 400 * KIB),
}


def read_resumed(address, size, rate):
    """Cut the connection in the middle of the large record, and go on in another session."""
    with PacedClient(address(), rate) as client:
        client.read_until(lambda c: c.received_bytes > size // 2, 120)
        assert names(client) == STORY[:2]
    with PacedClient(address(client.cursor), rate) as again:
        again.read_until(lambda c: len(c.records) == 2 or c.close_code, 120)
    return client, again


def read_and_stop(address):
    """Read nothing for 13 seconds, and go on where that led to, in another session."""
    with PacedClient(address(), 600 * KIB, pauses=[(200_000, 13)]) as client:
        client.read_until(lambda c: c.dropped or c.close_code, 90)
    with PacedClient(address(client.cursor), 400 * KIB) as again:
        again.read_until(lambda c: c.records, 60)
    return client, again


@pytest.fixture(scope="module")
def stories(certificate):
    """Run all clients at once, because each is slow: name -> future."""
    file, key = certificate
    tls = ssl.create_default_context(cafile=str(file))
    found = {}
    with ExitStack() as stack, ThreadPoolExecutor(16) as pool:

        def stream(size):
            kinesis = stack.enter_context(FakeKinesis())
            put_story(kinesis.put, size)
            return kinesis

        def process(kinesis, **settings):
            return stack.enter_context(SessionProcess(kinesis, **settings))

        def url_of(kinesis, **settings):
            return process(kinesis, **settings).until_ready().url

        for name, told in STORIES.items():
            url = url_of(stream(told.size), **told.settings) + BEGINNING
            found[name] = pool.submit(read_story, url, told.rate, **told.client)
        encrypted = process(stream(400 * KIB), TLS_CERT_FILE=file, TLS_KEY_FILE=key, **EAGER)
        url = f"wss://127.0.0.1:{encrypted.port}/{encrypted.uuid}{BEGINNING}"
        found["over TLS"] = pool.submit(read_story, url, 16 * KIB, tls=tls)

        def address_in(kinesis, settings, cursor=None):
            of = BEGINNING if cursor is None else f"?cursor={cursor}"
            return url_of(kinesis, **settings) + of

        for name, (size, rate) in RESUMED.items():
            address = partial(address_in, stream(size), EAGER)
            found[name] = pool.submit(read_resumed, address, size, rate)
        address = partial(address_in, stream(LARGEST), {})
        found["stops for 13 s"] = pool.submit(read_and_stop, address)
        yield found


@pytest.mark.parametrize("name", [*STORIES, "over TLS"])
def test_a_client_that_takes_bytes_gets_every_record(stories, name):
    client = stories[name].result()
    assert (names(client), client.close_code, client.dropped) == (STORY, None, False)


@pytest.mark.parametrize("name", RESUMED)
def test_a_slow_client_cut_off_in_a_large_record_goes_on_with_that_record(stories, name):
    client, again = stories[name].result()
    assert (names(client), names(again), again.close_code) == (STORY[:2], STORY[2:], None)


def test_small_records_do_not_share_a_message_with_a_large_one(stories):
    first, second, third = [
        [record["data"]["name"] for record in message["records"]]
        for message in stories["48 KiB/s"].result().messages
        if message["type"] == "records"
    ]
    assert (first, second, third) == (["first", "second"], ["large"], ["last"])


@needs_redis
@pytest.mark.parametrize(("size", "rate"), [(100 * KIB, 16 * KIB), (LARGEST, MIB)])
def test_the_fan_out_feed_waits_for_a_slow_client_too(size, rate):
    with RedisProcess() as server, ExitStack() as stack:
        writer = FeedWriter(server)

        def session():
            process = SessionProcess(FEED_URL=server.url(), **EAGER)
            return stack.enter_context(process).until_ready().url

        client = stack.enter_context(PacedClient(session(), rate))
        client.read_until(lambda c: c.messages, 20)
        begun_at = client.cursor
        put_story(writer.put, size)
        client.read_until(lambda c: len(c.records) == 4 or c.close_code, 120)
        assert (names(client), client.close_code) == (STORY, None)

        def address(cursor=begun_at):
            return f"{session()}?cursor={cursor}"

        cut, again = read_resumed(address, size, rate)
        assert (names(cut), names(again), again.close_code) == (STORY[:2], STORY[2:], None)


def test_one_that_stops_is_sent_away_and_goes_on_from_what_it_got(stories):
    client, rest = stories["stops for 13 s"].result()
    assert (client.close_code, client.bye["reason"]) == (1013, "slow_client")
    assert client.bye["cursor"] == client.cursor
    assert (names(client), names(rest)) == (STORY[:3], STORY[3:])
