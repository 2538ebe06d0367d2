"""One execution environment of one function: `python -m local.functions.worker`.

Imports the handler's module once, then takes one invocation at a time from the inherited socket:
two frames (a JSON header, the event), answered by two (a JSON header, the result). Imports nothing
of this project but the function, so that its memory is the function's.

The kernel ends it with the process that started it, because a stopped process reads no socket.
"""

import argparse
import ctypes
import importlib
import json
import logging
import os
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Context:
    """The context of a handler: the part of Lambda's context object that is supported here.

    https://docs.aws.amazon.com/lambda/latest/dg/python-context.html
    """

    function_name: str
    aws_request_id: str
    memory_limit_in_mb: int
    deadline: float
    """On the clock of `time.monotonic`, which all processes of a machine share."""
    function_version: str = "$LATEST"
    invoked_function_arn: str = ""
    log_group_name: str = ""
    log_stream_name: str = ""
    identity: Any = None
    client_context: Any = field(default=None)

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function is killed."""
        return max(0, round((self.deadline - time.monotonic()) * 1000))


def read_frame(connection: socket.socket) -> bytes:
    """The next frame. Raises EOFError at the end."""
    (length,) = struct.unpack("!I", _read(connection, 4))
    return _read(connection, length)


def write_frames(connection: socket.socket, *frames: bytes) -> None:
    """Send frames, each after its length in four bytes."""
    connection.sendall(b"".join(struct.pack("!I", len(frame)) + frame for frame in frames))


def _read(connection: socket.socket, length: int) -> bytes:
    found = bytearray()
    while len(found) < length:
        part = connection.recv(min(length - len(found), 1 << 20))
        if not part:
            raise EOFError
        found += part
    return bytes(found)


def find_handler(handler: str) -> Callable[[Any, Any], Any]:
    """Lambda's handler: `module.attribute`. Importing the module is the cold start."""
    module, _, attribute = handler.rpartition(".")
    found: Callable[[Any, Any], Any] = getattr(importlib.import_module(module), attribute)
    return found


def run(function: Callable[[Any, Any], Any], header: dict[str, Any], event: bytes) -> list[bytes]:
    """The two frames of the answer to one invocation; what the function raises is one of them.

    https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html
    """
    context = Context(**header)
    try:
        result = json.dumps(function(json.loads(event), context), separators=(",", ":"))
    except Exception as error:
        logging.getLogger("lambda").exception("%s failed", context.function_name)
        document = {
            "errorMessage": str(error),
            "errorType": type(error).__name__,
            "requestId": context.aws_request_id,
            "stackTrace": traceback.format_tb(error.__traceback__),
        }
        return [b'{"error":"Unhandled"}', json.dumps(document).encode()]
    return [b'{"error":null}', result.encode()]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.functions.worker", description=__doc__)
    parser.add_argument("--project-dir", required=True, help="the folder with app.py")
    parser.add_argument("--handler", required=True, help="MODULE.ATTRIBUTE")
    parser.add_argument("--fd", type=int, required=True, help="the socket of the invocations")
    parser.add_argument("--parent", type=int, required=True, help="id of the process that asks")
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != options.parent:  # the parent ended before the kernel was asked to report it
        return
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    sys.path.insert(0, options.project_dir)
    os.chdir(options.project_dir)
    connection = socket.socket(fileno=options.fd)
    function = find_handler(options.handler)
    write_frames(connection, b"ready")
    while True:
        try:
            header, event = read_frame(connection), read_frame(connection)
        except EOFError:
            return
        write_frames(connection, *run(function, json.loads(header), event))


if __name__ == "__main__":
    main()
