"""The client library follows a feed over drops, killed containers and a moody dispatcher."""

import json
import os
import socket
import subprocess
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.kinesis_server import FakeKinesis
from tests.needs import needs_node
from tests.session_process import ROOT, SessionProcess, until

FOLLOWER = """
const [, , script, dispatcher, options] = process.argv;
const { follow } = await import(script);
const say = (what) => console.log(JSON.stringify(what));
const following = follow(dispatcher, {
  ...JSON.parse(options),
  onRecords: (records) => records.forEach(({ data }) => say({ n: data.n })),
  onHello: () => following.send({ filter: {} }),
  onGap: (gap) => say({ gap }),
  onState: ({ phase, error, bye, seconds }) => say({ phase, error, reason: bye?.reason, seconds }),
});
process.stdin.on("data", (line) => {
  if (String(line).trim() === "close") following.close();
  if (String(line).trim() === "retry") following.retry();
});
const wait = setInterval(() => {
  if (following.phase === "ended") { clearInterval(wait); process.stdin.destroy(); }
}, 10);
"""


class Link:
    """A TCP proxy before a container, which can cut the wire without a goodbye."""

    def __init__(self, port):
        self.target = port
        self.sockets = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    near.close()
                    continue
                self.sockets += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    def _copy(self, one, other):
        with suppress(OSError):
            while data := one.recv(65_536):
                other.sendall(data)
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def cut(self):
        for each in self.sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self.sockets.clear()

    def close(self):
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()


class Dispatcher:
    """Gives each key a container of its own; `answers` come before that, each once."""

    def __init__(self, kinesis, **environment):
        self.kinesis, self.environment = kinesis, environment
        self.answers, self.keys, self.sessions, self.links = [], [], [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                status, headers, body = outer.answer(self.path, self.headers)
                payload = json.dumps(body).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/session?app=listings"

    def answer(self, path, headers):
        if path.startswith("/session?"):
            assert path == "/session?app=listings"
            self.keys.append(headers["Idempotency-Key"])
            if self.answers:
                return self.answers.pop(0)
        session = SessionProcess(self.kinesis, **self.environment).until_ready()
        link = Link(session.port)
        self.sessions.append(session)
        self.links.append(link)
        url = f"ws://127.0.0.1:{link.port}/{session.uuid}"
        return 200, {}, {"id": "the-id", "state": "RESERVED", "url": url}

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        for link in self.links:
            link.close()
        for session in self.sessions:
            session.__exit__()


class Follower:
    """Node.js running client.js; `said` is what the page's handlers heard."""

    def __init__(self, folder, dispatcher, **options):
        script = folder / "client.mjs"
        script.write_bytes((ROOT / "session_handler" / "client.js").read_bytes())
        (folder / "follow.mjs").write_text(FOLLOWER)
        words = subprocess.run(["node", "--help"], capture_output=True, text=True, check=True)
        flags = ["--experimental-websocket"] * ("--experimental-websocket" in words.stdout)
        self.process = subprocess.Popen(
            [
                *("node", *flags, "--no-warnings", folder / "follow.mjs"),
                *(script, dispatcher.url, json.dumps(options)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        self.said = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.said.append(json.loads(line))

    @property
    def numbers(self):
        return [said["n"] for said in self.said if "n" in said]

    @property
    def phases(self):
        return [said["phase"] for said in self.said if "phase" in said]

    def until_live(self, times=1):
        until(lambda: self.phases.count("live") >= times, f"live {times} times")

    def tell(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def end(self):
        code = self.process.wait(30)
        self.reader.join(5)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.reader.join(5)
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def kinesis():
    with FakeKinesis(shards=2) as kinesis:
        yield kinesis


def put(kinesis, numbers):
    for number in numbers:
        kinesis.put({"n": number}, "key")


@needs_node
def test_drops_within_the_grace_keep_the_container_and_lose_nothing(kinesis, tmp_path):
    with (
        Dispatcher(kinesis, RECONNECT_GRACE_SECONDS=30) as dispatcher,
        Follower(tmp_path, dispatcher) as follower,
    ):
        for round_number in range(5):
            follower.until_live(round_number + 1)
            put(kinesis, range(round_number * 40, round_number * 40 + 40))
            until(lambda n=round_number: len(follower.numbers) > n * 40, "the first of them")
            dispatcher.links[0].cut()
        until(lambda: len(follower.numbers) >= 200, "all records")
        follower.tell("close")
        assert follower.end() == 0
        assert follower.numbers == list(range(200))
        assert follower.phases[-1] == "ended"
        assert len(dispatcher.sessions) == 1


@needs_node
def test_a_killed_container_is_replaced_and_nothing_is_lost_or_doubled(kinesis, tmp_path):
    with (
        Dispatcher(kinesis) as dispatcher,
        Follower(tmp_path, dispatcher) as follower,
    ):
        for round_number in range(4):
            follower.until_live(round_number + 1)
            put(kinesis, range(round_number * 40, round_number * 40 + 40))
            until(lambda n=round_number: len(follower.numbers) > n * 40, "the first of them")
            dispatcher.sessions[-1].process.kill()
        follower.until_live(5)
        until(lambda: len(follower.numbers) >= 160, "all records")
        assert follower.numbers == list(range(160))
        assert len(set(dispatcher.keys)) == len(dispatcher.keys) == 5


@needs_node
def test_a_busy_dispatcher_is_asked_again_with_the_same_key_when_it_says(kinesis, tmp_path):
    with Dispatcher(kinesis) as dispatcher:
        error = {"error": {"code": "limit_reached", "message": "all taken"}}
        dispatcher.answers = [
            (503, {"Retry-After": "1"}, {"error": {"code": "unavailable", "message": "no table"}}),
            (429, {"Retry-After": "600"}, error),
            (202, {"Retry-After": "1"}, {"id": "the-id", "state": "QUEUED", "retryAfter": 0.01}),
        ]
        with Follower(tmp_path, dispatcher) as follower:
            until(lambda: follower.phases.count("waiting") == 2, "both refusals")
            follower.tell("retry")
            follower.until_live()
            waits = [said for said in follower.said if said.get("phase") == "waiting"]
            assert [wait["error"]["status"] for wait in waits] == [503, 429]
            assert 1 <= waits[0]["seconds"] < 2
            assert waits[1]["seconds"] == 30
        assert len(set(dispatcher.keys)) == 1


@needs_node
@pytest.mark.parametrize("again", [[], ["stopped"]])
def test_a_stopped_session_is_not_replaced_unless_told(kinesis, tmp_path, again):
    with Dispatcher(kinesis) as dispatcher, Follower(tmp_path, dispatcher, again=again) as follower:
        follower.until_live()
        dispatcher.sessions[0].terminate()
        if again:
            follower.until_live(2)
            return
        assert follower.end() == 0
        assert (follower.phases[-1], follower.said[-1]["reason"]) == ("ended", "stopped")
        assert len(dispatcher.sessions) == 1


@needs_node
def test_a_final_refusal_ends_it_with_the_reason(kinesis, tmp_path):
    with Dispatcher(kinesis) as dispatcher:
        dispatcher.answers = [(400, {}, {"error": {"code": "unknown_app", "message": "no"}})]
        with Follower(tmp_path, dispatcher) as follower:
            assert follower.end() == 0
            last = follower.said[-1]
            assert (last["phase"], last["error"]["code"]) == ("ended", "unknown_app")
