"""Handles ended containers in the Docker Engine: inspect, keep output, remove.

Nothing here raises: errors are logged, and the end is reported nevertheless.
"""

import logging
from pathlib import Path

import docker

from local.hosts.base import HostDownError
from local.hosts.docker_creation import Reach
from local.hosts.docker_engine import ENGINE_TROUBLE
from local.hosts.docker_requests import LOG_BYTES

log = logging.getLogger(__name__)


class ContainerEnds:
    """Handles the ends of one run's containers. Thread-safe."""

    def __init__(self, client: docker.APIClient, reach: Reach, logs: Path | None) -> None:
        """`logs`: a folder for the output of ended containers; None keeps none."""
        self._client = client
        self._reach = reach
        self._logs = logs

    def inspect(self, container_id: str, code: int | None) -> tuple[int | None, bool]:
        """Exit code and whether memory ran out, from the container itself; else `code` it is."""
        try:
            state = self._reach(lambda: self._client.inspect_container(container_id))["State"]
        except (*ENGINE_TROUBLE, HostDownError) as error:
            log.warning("how container %s ended is not known: %s", container_id[:12], error)
            return code, False
        return int(state["ExitCode"]), bool(state["OOMKilled"])

    def keep_log(self, container_id: str, task_id: str) -> None:
        """Append the last of what it printed to the file of its task."""
        if self._logs is None:
            return
        try:
            output = self._client.logs(container_id, stdout=True, stderr=True)
            with (self._logs / f"{task_id}.log").open("ab") as file:
                file.write(output[-LOG_BYTES:])
        except ENGINE_TROUBLE as error:
            log.warning("the output of container %s is lost: %s", container_id[:12], error)

    def remove(self, container_id: str) -> None:
        """Remove it with its volumes, whether it runs or not."""
        try:
            self._reach(lambda: self._client.remove_container(container_id, force=True, v=True))
        except docker.errors.NotFound:
            log.debug("container %s was removed by somebody else", container_id[:12])
        except (*ENGINE_TROUBLE, HostDownError) as error:
            log.warning("container %s stays: %s", container_id[:12], error)
