"""The router of infra/router on a free port: the real script, the real nginx."""

import hashlib
import os
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

from tests.session_process import until

FOLDER = Path(__file__).parents[1] / "infra" / "router"
KEY = "the router's key"
KEY_HASH = hashlib.sha256(KEY.encode()).hexdigest()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Router:
    """Runs while the `with` lasts. `log` is what nginx wrote."""

    def __init__(
        self, folder: Path, dispatcher: str, files: tuple[Path, Path], port: int | None = None
    ) -> None:
        self.port = port or free_port()
        self.log: list[str] = []
        certificate, key = files
        self._environment = {
            "PATH": f"{os.environ['PATH']}:/usr/sbin",
            "DISPATCHER_URL": dispatcher,
            "ROUTER_KEY": KEY,
            "TLS_CERT_FILE": str(certificate),
            "TLS_KEY_FILE": str(key),
            "ROUTER_PORT": str(self.port),
            "RESOLVER": "127.0.0.1",
            "AUTHORITIES": str(certificate),
            "ROUTER_FOLDER": str(folder / "router"),
            "RENEWAL_SECONDS": "0.1",
        }

    def __enter__(self) -> "Router":
        self._process = subprocess.Popen(
            ["sh", str(FOLDER / "entrypoint.sh")],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=lambda: self.log.extend(self._process.stdout), daemon=True).start()
        until(self._answers, "the router to listen")
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.terminate()
        self._process.wait(10)
        print("".join(self.log))  # shown with a test that fails

    def _answers(self) -> bool:
        assert self._process.poll() is None, "".join(self.log)
        try:
            with socket.create_connection(("127.0.0.1", self.port)):
                return True
        except OSError:
            return False
