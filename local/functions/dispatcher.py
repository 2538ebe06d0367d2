"""The dispatcher's process: `python -m local.functions.dispatcher`.

Serves app.py as `chalice local` does, by default completely in this process; with `--functions
lambda` it is API Gateway only, and each function runs in separate processes. On another port it
serves Lambda's Invoke API for everything else that app.py registered: schedules, queues, events,
stream records. Both ports are listening sockets inherited from `local up`, which keeps them open: a
dispatcher that crashes is replaced on the same ports, and requests that arrive meanwhile wait for
the next one.

Ends on SIGTERM after the current requests, and at once when its standard input ends, which means
that the process that started it is gone.
"""

import argparse
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from http.server import HTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

from chalice.app import Chalice
from chalice.config import Config
from chalice.deploy.validate import validate_feature_flags, validate_routes
from chalice.local import (
    ChaliceRequestHandler,
    CustomLocalChalice,
    LocalChalice,
    LocalDevServer,
    ThreadedHTTPServer,
)

from local.access import AccessRule, hosts_at, origin_of
from local.aws.http_server import HttpServer
from local.background import no_garbage
from local.functions.admission import Admission
from local.functions.failures import FailureReports
from local.functions.gateway import RemoteApp
from local.functions.invoke_api import InThisProcess, InvokeApi
from local.functions.pool import IDLE_SECONDS as KEPT_SECONDS
from local.functions.pool import Pools
from local.functions.registry import find_functions
from local.functions.settings import (
    API_HANDLER,
    DEFAULT_CONCURRENCY,
    environ_of,
    read_settings,
    resources_of,
)
from local.stopping import SignalHandlers, end_process

DRAIN_SECONDS = 3.0
"""Time for current requests after SIGTERM."""

AT_ONCE = 2 * (os.cpu_count() or 1)
"""Number of concurrent requests, where all functions run in this process."""

COUNTED_SECONDS = 0.5
"""A request that takes longer is waiting, and is no longer counted."""

IDLE_SECONDS = 65
"""A kept-alive connection that is silent for this long is closed."""


class InHand:
    """Counts the requests being answered, so that the end can wait for them."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    def __enter__(self) -> None:
        with self._condition:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._condition:
            self._count -= 1
            self._condition.notify_all()

    def wait_for_none(self, seconds: float) -> None:
        """Return when there are none, or the time is up."""
        with self._condition:
            self._condition.wait_for(lambda: self._count == 0, seconds)


IN_HAND = InHand()


class Handler(ChaliceRequestHandler):  # type: ignore[misc]
    """Chalice's handler; header and body leave in one segment, without waiting for an ACK."""

    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = IDLE_SECONDS
    access_log = False
    rule = AccessRule(frozenset())
    """The accepted requests; `main` sets it."""
    admission: Admission | None = None
    """The order in which requests begin, where all functions run in this process."""

    def _generic_handle(self) -> None:
        with IN_HAND:
            refusal = self.rule.refusal(self.command, self.path, self.headers.items())
            if refusal is not None:
                self._refuse(403, "forbidden", refusal)
            elif not self.headers.get("Authorization", "").isascii():
                # Chalice encodes it as ASCII when it answers an unknown route, and fails.
                self._refuse(400, "bad_request", "the header Authorization must be ASCII")
            else:
                with self.admission.turn() if self.admission else nullcontext():
                    super()._generic_handle()
            self.wfile.flush()

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer without reading the body, and close."""
        self.close_connection = True
        error = {"error": {"code": code, "message": message}}
        headers = {"Cache-Control": "no-store", "Connection": "close"}
        self._send_http_response(status, headers, json.dumps(error))

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _generic_handle  # noqa: N815
    do_PATCH = do_OPTIONS = _generic_handle  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class says so
        if self.access_log:
            super().log_message(format, *args)


def server_on(listener: socket.socket) -> type[HTTPServer]:
    """A server class for an already listening socket, because LocalDevServer needs a class."""

    class InheritedServer(ThreadedHTTPServer):  # type: ignore[misc]
        def __init__(self, address: tuple[str, int], handler: Any) -> None:
            super().__init__(address, handler, bind_and_activate=False)
            self.server_close()  # the socket that the base class created
            self.socket = listener
            self.server_address = listener.getsockname()
            self.server_name, self.server_port = self.server_address[:2]

    return InheritedServer


def load_app(project_dir: Path, stage: str) -> tuple[Chalice, Config]:
    """Load app.py as Chalice's own `local` command does, without the other imports of its command
    line, which take a fifth of a second.

    One more difference: this process's environment overrides the stage's defaults in
    .chalice/config.json.
    """
    on_disk = json.loads((project_dir / ".chalice" / "config.json").read_text(encoding="utf-8"))
    config = Config(
        chalice_stage=stage,
        config_from_disk=on_disk,
        default_params={"project_dir": str(project_dir)},
    )
    for name, value in config.environment_variables.items():
        os.environ.setdefault(name, value)
    sys.path.insert(0, str(project_dir))
    sys.path.append(str(project_dir / "vendor"))  # beside app.py in the deployed package
    app = import_module("app").app
    validate_feature_flags(app)
    validate_routes(app.routes)
    # As chalice.local.create_local_server does: requests of several threads concurrently.
    CustomLocalChalice.__bases__ = (LocalChalice, app.__class__)
    app.__class__ = CustomLocalChalice
    return app, config


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m local.functions.dispatcher", description=__doc__
    )
    parser.add_argument("--project-dir", type=Path, default=Path.cwd())
    parser.add_argument("--stage", default="local")
    parser.add_argument("--http-fd", type=int, required=True, help="listening socket of the API")
    parser.add_argument("--invoke-fd", type=int, required=True, help="the same of the Invoke API")
    parser.add_argument("--failures-fd", type=int, help="a pipe, for a line for each failure")
    parser.add_argument("--allowed-host", action="append", default=[], help="a further name")
    parser.add_argument("--allowed-origin", action="append", default=[], help="of other pages")
    parser.add_argument("--access-log", action="store_true")
    parser.add_argument("--functions", choices=("shared", "lambda"), default="shared")
    parser.add_argument("--concurrency", type=int, default=DEFAULT_CONCURRENCY)
    parser.add_argument("--idle-seconds", type=float, default=KEPT_SECONDS)
    options = parser.parse_args(arguments)

    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    threading.Thread(target=_die_with_parent, name="parent", daemon=True).start()
    Handler.access_log = options.access_log

    with no_garbage():
        app, config = load_app(options.project_dir, options.stage)
    if options.failures_fd is not None:
        _report_failures(options.failures_fd, app.log)
    listener = socket.socket(fileno=options.http_fd)
    host, port = listener.getsockname()[:2]
    Handler.rule = AccessRule(
        hosts_at(port, options.allowed_host),
        pages=True,
        origins=frozenset(map(origin_of, options.allowed_origin)),
    )
    functions = find_functions(app)
    pools: Pools | None = None
    if options.functions == "lambda":
        handlers = {name: function.lambda_handler for name, function in functions.items()}
        pools = Pools(
            read_settings(
                options.project_dir,
                {API_HANDLER: "app.app", **handlers},
                resources_of(options.project_dir),
                options.concurrency,
            ),
            options.project_dir,
            environ_of,
            options.idle_seconds,
        )
        served: Any = RemoteApp(app, pools, API_HANDLER)
        invoke_api = InvokeApi(functions, pools.invoke, pools.describe)
    else:
        served = app
        Handler.admission = Admission(AT_ONCE, COUNTED_SECONDS)
        run = InThisProcess(functions, config.lambda_timeout, config.lambda_memory_size)
        invoke_api = InvokeApi(functions, run)
    api = LocalDevServer(served, config, host, port, Handler, server_on(listener))
    invoke = HttpServer(socket.socket(fileno=options.invoke_fd), invoke_api.answer)

    stopping = threading.Event()
    SignalHandlers([signal.SIGTERM], lambda _: stopping.set())
    # Ctrl-C reaches `local up`, which then ends this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    invoke.start()
    serving = threading.Thread(target=api.serve_forever, name="api", daemon=True)
    serving.start()
    stopping.wait()
    api.shutdown()
    invoke.close()
    IN_HAND.wait_for_none(DRAIN_SECONDS)
    if pools is not None:
        pools.close()
    return 0


def _report_failures(fd: int, of_app: logging.Logger) -> None:
    os.set_inheritable(fd, False)  # its end is that of this process
    reports = FailureReports(fd)
    logging.getLogger().addHandler(reports)
    if not of_app.propagate:
        of_app.addHandler(reports)


def _die_with_parent() -> None:
    """Wait for the end of standard input: nothing is written to it, the parent only holds it
    open.
    """
    while os.read(0, 1024):
        pass
    print(json.dumps({"message": "the local cloud is gone, so is this dispatcher"}), flush=True)
    os._exit(1)


if __name__ == "__main__":
    end_process(main())
