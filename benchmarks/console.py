"""The console over 50,000 invocations, 5,000 sessions and 500 schedules.

The tables are dynalite's, because the embedded ones look at all items for each query. dynalite has
no transactions, so nothing is changed here, and no expiry: a forwarder accepts the setting.
"""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, urlsplit

import boto3
from playwright.sync_api import Page

from benchmarks.cloud import Cloud, running_cloud
from benchmarks.processes import cpu_seconds
from benchmarks.run import Run
from tests import emulators
from tests.browser.conftest import running_browser
from tests.browser.many_records import NAMES, write_many

GROUP = "console"
PAGES = {
    "Home": ("", ("/overview", "/apps"), ".tiles"),
    "Invocations": ("/invocations", ("/invocations?limit=50",), "tbody tr"),
    "Invocations of a job": (
        f"/invocations?job={quote(NAMES[0])}",
        (f"/invocations?limit=50&job={quote(NAMES[0])}",),
        "tbody tr",
    ),
    "Sessions": ("/sessions", ("/sessions?limit=50",), "tbody tr"),
    "Schedules": ("/schedules", ("/schedules?limit=50",), "tbody tr"),
    "Jobs": ("/jobs", ("/jobs",), "main h1"),
    "Apps": ("/apps", ("/apps",), "main h1"),
    "An app": ("/apps/session", ("/apps/session", "/apps/session/containers?limit=1000"), ".facts"),
    "Hosts": ("/hosts", ("/hosts?limit=50",), "tbody tr"),
    "Audit": ("/audit", ("/audit?limit=50",), "main h1"),
}
"""By name: its address, what it asks the dispatcher for, and what is there once it is usable."""
SETTINGS = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}


def measure_console(run: Run) -> None:
    """Server time of what each page asks for, and the time until it is usable in Chromium."""
    rounds = 2 if run.quick else 5
    with (
        emulators.serve_npm("dynalite") as url,
        _accepting_expiry(url) as tables_url,
        running_cloud(run, "process", aws_service=f"dynamodb={tables_url}") as cloud,
    ):
        run.say("console: writing records")
        sizes = (500, 50, 20) if run.quick else (50_000, 5_000, 500)
        tables = boto3.client("dynamodb", endpoint_url=url, **SETTINGS)
        invocations, sessions, schedules = sizes
        write_many(
            tables,
            invocations=invocations,
            running=10,
            sessions=sessions,
            schedules=schedules,
        )
        with running_browser() as browser:
            page = browser.new_page()
            for name, (path, requests, usable) in PAGES.items():
                run.say(f"console: {name}")
                for request in requests:
                    _measure_request(
                        run, cloud, f"{name}: {request.partition('?')[0]}", request, rounds
                    )
                took = [_usable(page, cloud, path, usable) for _ in range(rounds)]
                run.report.add(GROUP, f"{name}: usable", "ms", took)


@contextmanager
def _accepting_expiry(url: str) -> Iterator[str]:
    """A forwarder to `url` that answers UpdateTimeToLive itself; yields its own URL."""
    host = urlsplit(url).netloc

    class Forwarder(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: apart, the second waits 40 ms for an ACK
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("X-Amz-Target", "").endswith(".UpdateTimeToLive"):
                self._answer(200, b"{}")
                return
            connection = http.client.HTTPConnection(host, timeout=60)
            connection.request("POST", self.path, body, dict(self.headers))
            answer = connection.getresponse()
            self._answer(answer.status, answer.read())
            connection.close()

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Forwarder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def _measure_request(run: Run, cloud: Cloud, name: str, path: str, rounds: int) -> None:
    took, pid = [], cloud.dispatcher_pid
    calls, cpu = cloud.calls().total(), cpu_seconds(pid)
    for _ in range(rounds):
        began = time.perf_counter()
        status, body = cloud.request("GET", path)
        took.append((time.perf_counter() - began) * 1_000)
        if status != 200:
            raise RuntimeError(f"{path}: {status} {body}")
    run.report.add(GROUP, name, "ms", took)
    used = (cpu_seconds(pid) - cpu) * 1_000 / rounds
    run.report.add(GROUP, f"{name}: processor time", "ms", [used])
    run.report.add(GROUP, f"{name}: AWS calls", "", [(cloud.calls().total() - calls) / rounds])


def _usable(page: Page, cloud: Cloud, path: str, selector: str) -> float:
    """Milliseconds from the navigation until what the page is for is shown."""
    began = time.perf_counter()
    page.goto(f"{cloud.ready['dispatcher']}/console{path}", wait_until="commit")
    page.locator(selector).first.wait_for()
    return (time.perf_counter() - began) * 1_000
