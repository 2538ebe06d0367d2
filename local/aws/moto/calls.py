"""moto as this machine's AWS: requests, the locks that it needs, and shortcuts.

Three things are added without changes to moto:

- One lock around each service. moto's DynamoDB checks a condition and writes in two steps, and a
  failed transaction puts back what it changed; without the lock two conditional writes both win
  and acknowledged writes of others get lost. SQS would give one message to two receivers. Threads
  gain nothing there anyway, as all of it is Python.
- Requests of services with one URL and an X-Amz-Target (DynamoDB, Kinesis, SQS, EventBridge, …)
  go straight to moto's handler. The way through its WSGI dispatcher lists the folders of all
  services on disk twice for each call, and through a Flask application after that.
- What moto works out anew for each call, or takes a detour to: see `local.aws.moto.shortcuts`.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from io import BytesIO
from threading import Lock, RLock
from typing import Any

from local.aws.dynamodb.keys import Keys, Schema, TableKeys
from local.aws.dynamodb.rules import check
from local.aws.wire import Answer, Call, Request

# Read when moto is imported: CORS headers are for browsers, and a browser has no business here.
os.environ.setdefault("MOTO_DISABLE_GLOBAL_CORS", "true")


class Moto:
    """All of moto's services behind one method. Thread-safe."""

    def __init__(self, port: int, *, shortcuts: bool = True) -> None:
        """`port` is the endpoint's. Without shortcuts moto is unmodified, for comparison."""
        from moto.moto_server.werkzeug_app import (
            BackendRequest,
            DomainDispatcherApplication,
            create_backend_app,
        )

        from local.aws.moto import shortcuts as moto_shortcuts

        if shortcuts:
            moto_shortcuts.take()
        self._request = BackendRequest
        self._application = DomainDispatcherApplication(create_backend_app)
        self._port = str(port)
        self._guard = Lock()
        self._locks: dict[str, AbstractContextManager[Any]] = {"sqs": moto_shortcuts.QUEUE_LOCK}
        self._handlers: dict[str, Callable[..., Any] | None] = {}

    def call(self, call: Call, request: Request) -> Answer:
        """Execute a request. Raises moto's errors for unsupported ones."""
        environ = self._environ(request)
        with self._lock_of(call.service):
            handler = self._handler_of(call.service, request) if request.target else None
            if handler is None:
                return self._through_wsgi(environ)
            host = request.headers.get("host", f"127.0.0.1:{self._port}")
            url = f"http://{host}{request.raw_target}"
            status, headers, body = handler(self._request(environ), url, None)
        content = body.encode() if isinstance(body, str) else bytes(body)
        return Answer(int(status), {k: str(v) for k, v in headers.items()}, content)

    def check_dynamodb(self, action: str, parameters: Mapping[str, Any], region: str) -> None:
        """Raise RuleError for a request that breaks a rule of DynamoDB, by the tables there are."""
        from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords

        reserved = frozenset(ReservedKeywords.get_reserved_keywords())
        check(action, parameters, self.dynamodb_schema(region), reserved)

    def dynamodb_schema(self, region: str) -> Schema:
        """The keys of the tables there are."""
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.dynamodb.models import dynamodb_backends

        tables = dynamodb_backends[DEFAULT_ACCOUNT_ID][region].tables

        def schema(name: str) -> TableKeys | None:
            table = tables.get(name)
            if table is None:
                return None
            types = {one["AttributeName"]: one["AttributeType"] for one in table.attr}

            def keys_of(described: list[dict[str, str]]) -> Keys:
                ordered = sorted(described, key=lambda key: key["KeyType"])  # HASH before RANGE
                return {key["AttributeName"]: types[key["AttributeName"]] for key in ordered}

            indexes = {one.name: keys_of(one.schema) for one in table.all_indexes()}
            return TableKeys(keys_of(table.schema), indexes)

        return schema

    def _lock_of(self, service: str) -> AbstractContextManager[Any]:
        lock = self._locks.get(service)
        if lock is None:
            with self._guard:
                lock = self._locks.setdefault(service, RLock())
        return lock

    def _handler_of(self, service: str, request: Request) -> Callable[..., Any] | None:
        """The handler of a service that has a single URL; None for any other service."""
        if request.path != "/":
            return None
        if service not in self._handlers:
            self._handlers[service] = self._find_handler(request)
        return self._handlers[service]

    def _find_handler(self, request: Request) -> Callable[..., Any] | None:
        from moto import backends
        from moto.core import DEFAULT_ACCOUNT_ID

        host = self._application.infer_service_region_host(self._environ(request), request.path)
        name = host and self._application.get_backend_for_host(host)
        if not name or name not in backends.list_of_moto_modules():
            return None
        regions = backends.get_backend(name)[DEFAULT_ACCOUNT_ID]
        backend = regions["us-east-1" if "us-east-1" in regions else "aws"]
        handler: Callable[..., Any] | None = backend.flask_paths.get("/")
        return handler

    def _through_wsgi(self, environ: dict[str, Any]) -> Answer:
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
            started.extend([int(status.split(" ", 1)[0]), dict(headers)])

        body = b"".join(self._application(environ, start_response))
        return Answer(started[0], started[1], body)

    def _environ(self, request: Request) -> dict[str, Any]:
        environ = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": request.unquoted_path,
            "QUERY_STRING": request.query,
            "REQUEST_URI": request.raw_target,
            "RAW_URI": request.raw_target,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": self._port,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(request.body),
            "wsgi.errors": None,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in request.headers.items():
            environ["HTTP_" + name.upper().replace("-", "_")] = value
        environ["CONTENT_LENGTH"] = str(len(request.body))
        environ["CONTENT_TYPE"] = request.headers.get("content-type", "")
        return environ
