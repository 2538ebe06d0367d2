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
        self,
        folder: Path,
        dispatcher: str,
        files: tuple[Path, Path],
        port: int | None = None,
        **environment: str,
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
            **environment,
        }

    def _command(self) -> list[str]:
        return ["sh", str(FOLDER / "entrypoint.sh")]

    def __enter__(self) -> "Router":
        self._process = subprocess.Popen(
            self._command(),
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


class ContainerRouter(Router):
    """The same in a container of `image`, hardened as in infra/router/template.yaml, on the host's
    network, where the dispatcher of the tests listens.
    """

    def __init__(
        self, image: str, dispatcher: str, files: tuple[Path, Path], port: int | None = None
    ) -> None:
        certificate, key = files
        super().__init__(Path("/tmp"), dispatcher, files, port)
        self._image = image
        self._folder = certificate.parent
        inside = {
            "TLS_CERT_FILE": f"/certificates/{certificate.name}",
            "TLS_KEY_FILE": f"/certificates/{key.name}",
            "AUTHORITIES": f"/certificates/{certificate.name}",
        }
        self._environment |= inside
        self._names = sorted(set(self._environment) - {"PATH"})

    def _command(self) -> list[str]:
        return [
            *("docker", "run", "--rm", "--network", "host", "--read-only", "--tmpfs", "/tmp"),
            *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
            *("--volume", f"{self._folder}:/certificates:ro"),
            *(word for name in self._names for word in ("--env", name)),
            self._image,
        ]
