"""A real session container process for tests, and the dispatcher it calls back."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).parents[1]
DEADLINE_SECONDS = 30


def until(condition, what, seconds=DEADLINE_SECONDS):
    """Poll until `condition()` is true; returns its value."""
    ends = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < ends, f"not within {seconds} s: {what}"
        threading.Event().wait(0.01)
    return value


class CallbackServer:
    """Accepts callbacks; `statuses` are the next answers, 200 once they are used up."""

    def __init__(self, statuses=()):
        self.statuses = list(statuses)
        self.answer = b"{}"
        self.posts = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = outer.statuses.pop(0) if outer.statuses else 200
                outer.posts.append((status, self.path, self.headers["Authorization"], body))
                self.send_response(status)
                self.send_header("Content-Length", str(len(outer.answer)))
                self.end_headers()
                self.wfile.write(outer.answer)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/sessions/the-id/events"

    @property
    def accepted(self):
        return [body for status, _, _, body in self.posts if status == 200]

    @property
    def types(self):
        return [body["type"] for body in self.accepted]

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


class SessionProcess:
    """`python -m session_handler` with a small environment of its own."""

    def __init__(self, kinesis=None, callbacks=None, command=None, **environment):
        env = self.environment(kinesis, callbacks)
        self.uuid = env["SESSION_UUID"]
        env |= {name: str(value) for name, value in environment.items()}
        self.lines = []
        self._port = None
        self._port_known = threading.Event()
        self.process = subprocess.Popen(
            command or [sys.executable, "-m", "session_handler"],
            env=env,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @staticmethod
    def environment(kinesis=None, callbacks=None):
        """The variables of a session on these."""
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "SESSION_ID": "the-id",
            "SESSION_UUID": str(uuid.uuid4()),
            "SESSION_PORT": "0",
            "SESSION_APP_NAME": "listings",
            "SESSION_REVISION": "listings:7",
        }
        if kinesis is not None:
            env |= {
                "FEED_URL": f"kinesis://{kinesis.stream}",
                "AWS_ENDPOINT_URL": kinesis.url,
                "AWS_ACCESS_KEY_ID": "local",
                "AWS_SECRET_ACCESS_KEY": "local",
            }
        if callbacks is not None:
            env |= {"CALLBACK_URL": callbacks.url, "SESSION_KEY": "the-key"}
        return env

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)
            if "listening on port " in line:
                self._port = int(line.rpartition(" ")[2])
                self._port_known.set()
        self._port_known.set()

    @property
    def port(self):
        assert self._port_known.wait(DEADLINE_SECONDS)
        assert self._port is not None, self.log
        return self._port

    @property
    def log(self):
        return "".join(self.lines)

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}/{self.uuid}"

    def health(self):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/healthz")
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def until_ready(self):
        until(lambda: self.health()[1]["ready"], "ready")
        return self

    def resident_mib(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def exit_code(self, seconds=DEADLINE_SECONDS):
        code = self.process.wait(seconds)
        self._reader.join(5)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(5)
        self.process.stderr.close()
