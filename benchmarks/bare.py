"""A server that answers everything at once with the same: what is left when nothing is done.

    python -m benchmarks.bare BODY

It is the local cloud's own HTTP server, so the difference is what is behind it. The port is
written to stdout; the end of stdin is the end.
"""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.processes import MARK
from benchmarks.run import ROOT, Run
from local.aws.http_server import HttpServer
from local.aws.wire import Answer


@dataclass(frozen=True)
class BareServer:
    """A running one."""

    url: str
    pid: int


@contextmanager
def bare_server(run: Run, body: str = "{}") -> Iterator[BareServer]:
    """A running server in a separate process."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bare", body],
        cwd=ROOT,
        env={MARK: run.mark},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout
            port = int(process.stdout.readline())
            yield BareServer(f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.terminate()


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    answer = Answer(200, {"Content-Type": "application/x-amz-json-1.0"}, sys.argv[1].encode())
    server = HttpServer(listener, lambda _: answer)
    server.start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
