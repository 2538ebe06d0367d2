"""Durations. Those of AWS are assumptions, each with its source."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Latencies:
    """Seconds. The defaults are AWS's, within one region."""

    read: float = 0.004
    """A GetItem or Query. "Single-digit millisecond" by DynamoDB's developer guide."""
    write: float = 0.006
    transaction: float = 0.012
    """TransactWriteItems prepares, then commits: about two writes."""
    index_lag: float = 0.1
    """Of a global secondary index; "a fraction of a second" by DynamoDB's developer guide."""
    run_task: float = 0.25
    """Assumed."""
    ecs_read: float = 0.08
    """Assumed."""
    place: float = 0.5
    """From RunTask's answer to the agent's start of the container. Assumed."""
    start: float = 1.5
    """Starting a container of an image that the host has; 1 to 3 s (measured by others)."""
    start_spread: float = 0.3
    """Of the logarithm of a start."""
    pull: float = 15.0
    """The first pull of an image by a host. Assumed: 100 MB compressed."""
    boot: float = 0.3
    """From a container's start to its `ready`: the session container's own, see performance.md."""
    cores: float | None = None
    """What containers that start at once share; None = each has all it needs, as on many hosts."""
    event: float = 0.4
    """From a change of a task to the function that handles the event. EventBridge: about 0.5 s."""
    message: float = 0.05
    """From SendMessage to the function that handles it."""
    handler: float = 0.006
    """Processor time of one invocation: docs/performance.md, `warm`."""
    function_init: float = 0.37
    """A new environment of a function, to its first claim: docs/performance.md, `function`."""
    network: float = 0.04
    """A round trip of a browser or container to the API."""
    stop: float = 0.5
    """From StopTask to a container's end."""
