"""A function after a freeze: its connections were closed, or no longer have a peer.

A frozen process reads nothing. Meanwhile the other side closes idle connections, or a NAT gateway
drops them without a FIN, after 350 seconds:
https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-troubleshooting.html
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.integration.conftest import ROOT, wait_until

ANSWER = json.dumps({"TableNames": ["t"]}).encode()
PROGRAM = """
import sys
from chalicelib.clients import clients_for
from chalicelib.config import load_config
dynamodb = clients_for(load_config({"STAGE": "local", "AWS_REGION": "us-east-1"})).dynamodb
for line in sys.stdin:
    print(dynamodb.list_tables()["TableNames"], flush=True)
"""


class Service:
    """Answers ListTables; what it does with a connection after its answer is the test's choice."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections: list[socket.socket] = []
        self.silent: set[int] = set()
        """Numbers of connections on which nothing is answered any more."""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            self.connections.append(connection)
            number = len(self.connections) - 1
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with connection, connection.makefile("rb") as stream:
            try:
                while line := stream.readline():
                    length = 0
                    while line not in {b"\r\n", b""}:
                        name, _, value = line.lower().partition(b":")
                        length = int(value) if name == b"content-length" else length
                        line = stream.readline()
                    stream.read(length)
                    if number not in self.silent:
                        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"
                        size = f"Content-Length: {len(ANSWER)}\r\n\r\n".encode()
                        connection.sendall(head + size + ANSWER)
            except OSError:
                return

    def close(self) -> None:
        self._listener.close()
        for connection in self.connections:
            connection.close()


@pytest.fixture
def service():
    made = Service()
    yield made
    made.close()


@pytest.fixture
def function(service):
    """A process with the dispatcher's clients, which makes a call for each line it is sent."""
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    environment = os.environ | keys | {"AWS_ENDPOINT_URL": service.url}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def call(process) -> str:
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]


def freeze(process) -> None:
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: state_of(process.pid) == "T", 5, "the freeze")


def test_a_connection_that_was_closed_meanwhile_is_opened_again(service, function):
    assert call(function) == "['t']\n"
    freeze(function)
    service.connections[0].shutdown(socket.SHUT_RDWR)
    function.send_signal(signal.SIGCONT)
    assert call(function) == "['t']\n"
    assert len(service.connections) == 2


def test_a_connection_that_leads_nowhere_is_given_up_and_the_call_repeated(service, function):
    assert call(function) == "['t']\n"
    freeze(function)
    service.silent.add(0)
    function.send_signal(signal.SIGCONT)
    assert call(function) == "['t']\n"
    assert len(service.connections) == 2
