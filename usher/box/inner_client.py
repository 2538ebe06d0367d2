"""`usher-box run [--time S] [--memory MIB] [--stdin FILE] -- CMD…`, in the image of a grader.

`--stdin -` passes its own standard input on; without the option the command has an empty one.

Runs a command as another user in a box of its own and prints one JSON object: `exitCode`, `signal`,
`limit` (null, `cpu`, `wall`, `memory` or `output`), `cpuSeconds`, `wallSeconds`, `memoryMib`,
`stdout` and `stderr`. The command's output is text in that object and cannot change other fields.
Exit code 0 when the command ran, however it ended; 2 for wrong use; 3 when there was no box.
"""

import argparse
import json
import socket
import sys
from typing import Any

from usher.box import frames
from usher.box.inner_boxes import SOCKET
from usher.box.isolation import RUNTIME, SERVICE
from usher.box.model import MIB, BoxSettings, Usage, decide_limit, split_status


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="usher-box", allow_abbrev=False)
    run = parser.add_subparsers(required=True).add_parser("run")
    run.add_argument("--time", type=float, metavar="S", help="processor time in seconds")
    run.add_argument("--memory", type=float, metavar="MIB")
    run.add_argument("--stdin", metavar="FILE")
    run.add_argument("command", nargs="+", metavar="CMD")
    return parser.parse_args()


def main() -> None:
    """The command."""
    arguments = _arguments()
    stdin = b""
    try:
        if arguments.stdin == "-":
            stdin = sys.stdin.buffer.read()
        elif arguments.stdin is not None:
            with open(arguments.stdin, "rb") as file:
                stdin = file.read()
        fields = {"argv": arguments.command, "time": arguments.time, "memory": arguments.memory}
        answer = _ask(frames.pack_message(fields, [stdin]))
    except (OSError, frames.FrameError) as error:
        sys.stderr.write(f"usher-box: {error}\n")
        sys.exit(3)
    sys.stdout.write(json.dumps(answer) + "\n")


def _ask(payload: bytes) -> dict[str, Any]:
    """Raises OSError where there was no box."""
    streams = {frames.STDOUT: bytearray(), frames.STDERR: bytearray()}
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(f"{RUNTIME}/{SERVICE}/{SOCKET}")
        sock.sendall(frames.encode(frames.RUN, payload))
        reader = frames.FrameReader()
        while data := sock.recv(65_536):
            for kind, body in reader.feed(data):
                if kind in streams:
                    streams[kind] += body
                elif kind == frames.READY:
                    sock.sendall(frames.encode(frames.GO) + frames.encode(frames.STDIN_END))
                elif kind == frames.DONE:
                    return _answer(frames.unpack_message(body)[0], streams)
                else:
                    raise OSError(body.decode(errors="replace"))
    raise OSError("the box is gone")


def _answer(report: dict[str, Any], streams: dict[bytes, bytearray]) -> dict[str, Any]:
    code, number = split_status(report["status"])
    usage = Usage(report["cpu_seconds"], report["memory_bytes"], report["memory_kills"])
    limit = decide_limit(
        usage,
        BoxSettings(cpu_seconds=report["cpu_limit"]),
        out_of_wall=report["out_of_wall"],
        too_much_output=report["too_much_output"],
    )
    return {
        "exitCode": code,
        "signal": number,
        "limit": None if limit is None else limit.value,
        "cpuSeconds": round(usage.cpu_seconds, 3),
        "wallSeconds": round(report["wall_seconds"], 3),
        "memoryMib": round(usage.memory_bytes / MIB, 1),
        "stdout": streams[frames.STDOUT].decode(errors="replace"),
        "stderr": streams[frames.STDERR].decode(errors="replace"),
    }
