"""Emulators of AWS that others wrote, as processes on free loopback ports.

dynalite implements DynamoDB without transactions and TTL, kinesalite Kinesis without fan-out,
ministack most services. `make emulators` installs them into this folder.
"""

import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

FOLDER = Path(__file__).parent
MINISTACK = FOLDER / ".venv" / "bin" / "ministack"
AWS_CLI = FOLDER / ".venv" / "bin" / "aws"
"""A client of AWS that is not boto3's own, in the environment of ministack."""
START_SECONDS = 30
SERVER = """
const [make, options] = [require(process.argv[1]), JSON.parse(process.argv[2])];
const server = make(options);
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"""
AT_ONCE = {
    f"{verb}{noun}Ms": 0 for verb in ("create", "update", "delete") for noun in ("Table", "Stream")
}


def client(service: str, url: str, region: str = "us-east-1", **settings: Any) -> Any:
    """A boto3 client of an emulator, which tries each call once."""
    return boto3.session.Session().client(
        service,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries={"total_max_attempts": 1}, **settings),
    )


@contextmanager
def serve_npm(package: str, **options: Any) -> Iterator[str]:
    """dynalite or kinesalite, in memory; yields its URL."""
    command = ["node", "-e", SERVER, str(FOLDER / "node_modules" / package)]
    command.append(json.dumps(AT_ONCE | options))
    with _running(command, stdout=subprocess.PIPE) as process:
        watchdog = threading.Timer(START_SECONDS, process.kill)
        watchdog.start()
        port = process.stdout.readline().strip()
        watchdog.cancel()
        assert port, f"{package} ended with {process.wait()}"
        yield f"http://127.0.0.1:{port}"


@contextmanager
def serve_ministack(*services: str) -> Iterator[str]:
    """ministack with these services, in memory; yields its URL."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "MINISTACK_ACCOUNT_ID": "123456789012",
            "SERVICES": ",".join(services),
            "LOG_LEVEL": "WARNING",
            "TMPDIR": folder,
        }
        log = Path(folder) / "log"
        with (
            log.open("wb") as output,
            _running(
                [str(MINISTACK)], env=environment, stdout=output, stderr=subprocess.STDOUT
            ) as process,
        ):
            _wait_for(f"http://127.0.0.1:{port}/_ministack/health", process, log)
            yield f"http://127.0.0.1:{port}"


@contextmanager
def _running(command: list[str], **settings: Any) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(command, text=True, **settings)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    pause = threading.Event()
    for _ in range(START_SECONDS * 20):
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            assert process.poll() is None, log.read_text(errors="replace")
            pause.wait(0.05)
    raise AssertionError(log.read_text(errors="replace"))
