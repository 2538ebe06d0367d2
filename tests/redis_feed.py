"""A fan-out feed for tests: a real server, and a writer that keeps to the wire format.

The writer is independent of the relay: it appends the entries of a test, and deletes them when the
test asks.
"""

import json
import secrets
import socket
import subprocess
import threading
import time
from contextlib import closing, suppress

from chalicelib.contract.fanout import Entry, keys_of
from chalicelib.contract.json_text import is_json
from local.feed.redis_server import find_program
from session_handler.resp import ErrorReply, Parser, encode

FIRST_SEQUENCE = 49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_898
SEQUENCE_STEP = 3_000_000_000_000_000_000


class RedisProcess:
    """redis-server or valkey-server on the loopback; may be stopped and started at its port."""

    def __init__(self, *settings, password="the-password", port=None):
        self.settings = settings
        self.password = password
        self.port = port or free_port()
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [find_program(), "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        lines = ["bind 127.0.0.1", f"port {self.port}", 'save ""', "appendonly no", *self.settings]
        if self.password:
            lines.append(f"requirepass {self.password}")
        with self.process.stdin as settings:
            settings.write(("\n".join(lines) + "\n").encode())
        deadline = time.monotonic() + 20
        while True:
            with suppress(OSError), closing(self.connect()):
                return self
            assert time.monotonic() < deadline, "the server does not answer"
            threading.Event().wait(0.01)

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def url(self, stream="updates"):
        password = f":{self.password}@" if self.password else ""
        return f"redis://{password}127.0.0.1:{self.port}/{stream}"

    def connect(self):
        return Connection(self.port, self.password)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


class Connection:
    """Blocking commands, one after another."""

    def __init__(self, port, password=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.parser = Parser(1 << 30)
        if password:
            self.call("AUTH", password)

    def call(self, *words):
        return self.pipeline([words])[0]

    def pipeline(self, commands):
        self.socket.sendall(b"".join(encode(*words) for words in commands))
        replies = []
        while len(replies) < len(commands):
            received = self.socket.recv(1 << 20)
            if not received:
                raise ConnectionResetError("the server is gone")
            replies += self.parser.feed(received)
        for reply in replies:
            if isinstance(reply, ErrorReply):
                raise OSError(reply.text)
        return replies

    def close(self):
        self.socket.close()


class FeedWriter:
    """Appends records to one stream; `put` has the shape of `FakeKinesis.put`."""

    def __init__(self, server, stream="updates", shards=1, max_records=1_000_000, begin=True):
        self.server = server
        self.stream = stream
        self.keys = keys_of(stream)
        self.max_records = max_records
        self.connection = server.connect()
        self.last = {f"shardId-{n:012d}": None for n in range(shards)}
        self.history = []
        self.sequence = FIRST_SEQUENCE
        if begin:
            self.begin()

    def begin(self):
        """A new origin, as after a loss."""
        self.connection.call("SET", self.keys.origin, secrets.token_hex(8))

    def put(self, data, partition_key="key", shard_id=None, arrived_at=None):
        if not isinstance(data, bytes):
            data = json.dumps(data, separators=(",", ":")).encode()
        names = list(self.last)
        shard_id = shard_id or names[sum(partition_key.encode()) % len(names)]
        self.sequence += SEQUENCE_STEP
        arrived_at = arrived_at or int(time.time() * 1000)
        entry = Entry(shard_id, self.sequence, 0, None, partition_key, arrived_at, data)
        self.append([entry])
        return str(self.sequence)

    def put_all(self, records):
        """Many at once, to the first shard."""
        shard_id, arrived_at = next(iter(self.last)), int(time.time() * 1000)
        entries = []
        for record in records:
            self.sequence += SEQUENCE_STEP
            data = json.dumps(record, separators=(",", ":")).encode()
            entries.append(Entry(shard_id, self.sequence, 0, None, "key", arrived_at, data))
        self.append(entries)

    def append(self, entries):
        """Entries as the relay would make them; the position before each is filled in here."""
        commands = []
        for entry in entries:
            previous = self.last.get(entry.shard_id)
            whole = entry._replace(previous=previous, is_json=is_json(entry.data))
            self.history.append(entry)
            self.last[entry.shard_id] = entry.position
            commands.append(self._xadd(whole))
            position = str(entry.position)
            commands.append(("HSET", self.keys.last, entry.shard_id, position))
        self.connection.pipeline([("MULTI",), *commands, ("EXEC",)])

    def fill_again(self, since=0):
        """After the server lost everything: a new origin, and what Kinesis still has."""
        self.connection = self.server.connect()
        self.begin()
        self.last = dict.fromkeys(self.last)
        kept, self.history = self.history[since:], self.history[:since]
        for start in range(0, len(kept), 100):
            self.append(kept[start : start + 100])

    def _xadd(self, entry):
        cap = ("MAXLEN", self.max_records)
        return ("XADD", self.keys.records, *cap, "*", *entry.encode())


def free_port():
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])
