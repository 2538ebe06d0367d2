"""A threaded HTTP server on an already listening socket, for the AWS endpoint and the Invoke API.

Connections are kept alive, and each answer leaves in one segment. Python's own server closes
nothing slowly, but it parses headers as e-mail, and werkzeug's closes after each answer.
"""

import logging
import socket
import socketserver
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any

from local.access import AccessRule, hosts_at
from local.aws.wire import Answer, BadRequestError, Request, json_answer, read_request, render

IDLE_SECONDS = 300
"""A connection that is silent for this long is closed; clients open another one."""

log = logging.getLogger(__name__)


class _Connection(socketserver.StreamRequestHandler):
    server: "HttpServer"
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True

    def handle(self) -> None:
        try:
            while self._one():
                pass
        except BadRequestError as error:
            answer = json_answer({"message": str(error)}, error.status)
            self.wfile.write(render(answer, keep_alive=False))
        except (ConnectionError, TimeoutError):
            return  # the client has disconnected

    def _one(self) -> bool:
        request = read_request(self.rfile, self.wfile)
        if request is None:
            return False
        refusal = self.server.rule.refusal(
            request.method, request.raw_target, list(request.headers.items())
        )
        if refusal is not None:
            self.wfile.write(render(json_answer({"message": refusal}, 403), keep_alive=False))
            return False
        answer = self.server.answer(request)
        if answer is None:
            return False
        head = request.method == "HEAD"
        self.wfile.write(render(answer, keep_alive=request.keep_alive, head=head))
        return request.keep_alive


class HttpServer(socketserver.ThreadingMixIn, socketserver.BaseServer):
    """Serves an already listening socket, one thread a connection."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        listener: socket.socket,
        answer: Callable[[Request], Answer | None],
        rule: AccessRule | None = None,
    ) -> None:
        """`rule` selects the accepted requests: by default those with loopback names, and none of
        web pages.
        """
        super().__init__(listener.getsockname(), _Connection)
        self.rule = rule or AccessRule(hosts_at(listener.getsockname()[1]))
        self._listener = listener
        self.answer = answer
        self._thread = Thread(target=self.serve_forever, args=(0.1,), name="http", daemon=True)

    def start(self) -> None:
        """Serve until `close`."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving. Idempotent."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self._listener.close()

    def fileno(self) -> int:
        return self._listener.fileno()

    def get_request(self) -> tuple[socket.socket, Any]:
        return self._listener.accept()

    def shutdown_request(self, request: Any) -> None:
        with suppress(OSError):  # already gone on the other side
            request.shutdown(socket.SHUT_WR)
        request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        log.exception("a connection from %s failed", client_address)
