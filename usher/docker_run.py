"""`usher run` in a container of the project's image, with the limits of a task definition."""

import json
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from usher.cpu import UNITS_PER_CORE
from usher.local_coordinator import INVOCATION, REVISION
from usher.log import say

PIDS_LIMIT = 512
TMP_MIB = 64
STOP_SECONDS = 10
MOST_BYTES = 1024 * 1024
"""Maximum of a line; a result with its mark is shorter."""


def run_command(tag: str, description: Mapping[str, Any]) -> list[str]:
    """The docker command; memory without swap, a read-only root, no capabilities."""
    memory = f"{description['memory']}m"
    environment = {
        **description["environment"],
        "INVOCATION_ID": INVOCATION,
        "INVOCATION_ATTEMPT": "1",
        "JOB_NAME": description["name"],
        "JOB_REVISION": REVISION,
    }
    return [
        *("docker", "run", "--rm", "--interactive", "--stop-timeout", str(STOP_SECONDS)),
        *("--cpus", f"{description['cpu'] / UNITS_PER_CORE:g}"),
        *("--memory", memory, "--memory-swap", memory, "--pids-limit", str(PIDS_LIMIT)),
        *("--read-only", "--tmpfs", f"/tmp:rw,nosuid,nodev,size={TMP_MIB}m"),  # noqa: S108 - its own
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        *(word for pair in environment.items() for word in ("--env", "=".join(pair))),
        # Docker reads the value from its own environment, so that it is on no command line.
        *(word for name in description.get("secrets", ()) for word in ("--env", name)),
        *(tag, "--local", description["name"]),
    ]


def run_in_docker(
    tag: str, description: Mapping[str, Any], parameters: Any, on_result: Callable[[Any], None]
) -> int:
    """Returns the job's exit code. Its log is printed as it is written."""
    say(
        f"usher: in Docker: cpu {description['cpu']}, memory {description['memory']} MiB, "
        f"image {tag}"
    )
    mark = f"usher-result-{secrets.token_hex(16)} "
    order = {
        "parameters": parameters,
        "timeoutSeconds": description["timeoutSeconds"],
        "mark": mark,
    }
    container = subprocess.Popen(
        run_command(tag, description), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    # Docker forwards signals to the container; here they must not end the reading. Docker receives
    # a Ctrl-C from the terminal itself.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: container.terminate())
    with container:
        _hand_over(container, json.dumps(order).encode())
        _pass_on(container, mark.encode(), on_result)
        return container.wait()


def _hand_over(container: "subprocess.Popen[bytes]", order: bytes) -> None:
    assert container.stdin is not None  # noqa: S101 - by Popen's arguments
    try:
        container.stdin.write(order)
        container.stdin.close()
    except BrokenPipeError:
        return  # docker refused to start it and printed the reason


def _pass_on(
    container: "subprocess.Popen[bytes]", mark: bytes, on_result: Callable[[Any], None]
) -> None:
    """The job's own output to stdout; the result follows the mark."""
    assert container.stdout is not None  # noqa: S101 - by Popen's arguments
    while line := container.stdout.readline(MOST_BYTES):
        before, found, result = line.partition(mark)
        sys.stdout.buffer.write(before)
        sys.stdout.buffer.flush()
        if found:
            on_result(json.loads(result))
