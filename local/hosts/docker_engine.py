"""The local Docker Engine: its availability, the objects of each run, and their removal."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Network
from typing import TypeVar

import docker
import requests

from local.hosts.base import HostDownError
from local.hosts.docker_requests import Label

ENGINE_SECONDS = 120
"""Limit for one call to the Engine; a start may wait behind many others."""

ENGINE_TROUBLE = (docker.errors.DockerException, requests.exceptions.RequestException, OSError)
"""Exceptions if the Engine is gone or refuses."""


UNREACHABLE = (
    requests.exceptions.ConnectionError,
    requests.exceptions.ChunkedEncodingError,
    ConnectionError,
)
"""Exceptions if no Engine accepts the call, or the Engine ended meanwhile."""

RESTART_SECONDS = 30.0
"""Time for an Engine to restart, as after an upgrade, before its hosts are regarded as gone."""

_RETRY_SECONDS = 0.2

T = TypeVar("T")


def docker_available() -> str | None:
    """Why containers cannot be had from a Docker Engine on this machine; None when they can."""
    try:
        client = connect()
    except ENGINE_TROUBLE as error:
        return f"no Docker Engine answers: {error}"
    try:
        info = client.info()
    except ENGINE_TROUBLE as error:
        return f"the Docker Engine does not answer: {error}"
    finally:
        client.close()
    if not client.base_url.startswith("http+docker://"):
        return "DOCKER_HOST is not a socket of this machine, so ports would open elsewhere"
    if info.get("OSType") != "linux":
        return f"the Docker Engine runs {info.get('OSType')} containers"
    return None


def connect() -> docker.APIClient:
    """A connection to the Engine that DOCKER_HOST names, or to the usual socket."""
    return docker.APIClient(
        **docker.utils.kwargs_from_env(), version="auto", timeout=ENGINE_SECONDS
    )


@contextlib.contextmanager
def engine_trouble() -> Iterator[None]:
    """An Engine that is gone is a host that is down."""
    try:
        yield
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise HostDownError(f"the Docker Engine does not do it: {error}") from error


def through_restarts(call: Callable[[], T], seconds: float, given_up: Callable[[], bool]) -> T:
    """Call, and repeat while the Engine cannot be reached: for idempotent calls.

    Raises HostDownError if it is unreachable for `seconds`, or if `given_up()` is true. The
    Engine's own refusals are raised unchanged.
    """
    deadline = None
    while True:
        try:
            return call()
        except UNREACHABLE as error:
            now = time.monotonic()
            deadline = deadline or now + seconds
            if now >= deadline or given_up():
                raise HostDownError(f"the Docker Engine cannot be reached: {error}") from error
            threading.Event().wait(_RETRY_SECONDS)


def make_network(client: docker.APIClient, run_id: str) -> tuple[str, str, IPv4Network]:
    """Make the run's network; its id, the gateway's address, and the addresses in it."""
    network = client.create_network(
        f"usher-{run_id}",
        driver="bridge",
        labels={Label.RUN: run_id},
        options={"com.docker.network.bridge.enable_icc": "false"},
    )["Id"]
    pool = client.inspect_network(network)["IPAM"]["Config"][0]
    return network, pool["Gateway"], IPv4Network(pool["Subnet"])


def remove_leftovers(is_dead: Callable[[str], bool]) -> list[str]:
    """Remove the containers and networks of dead runs; returns those runs' ids.

    `is_dead` is called once for each run with objects in the Engine.
    """
    client = connect()
    try:
        dead = [run_id for run_id in sorted(_runs(client)) if is_dead(run_id)]
        remove_runs(client, dead)
    finally:
        client.close()
    return dead


def _runs(client: docker.APIClient) -> set[str]:
    filters = {"label": [str(Label.RUN)]}
    labelled = client.containers(all=True, filters=filters) + client.networks(filters=filters)
    return {thing["Labels"][Label.RUN] for thing in labelled}


def remove_runs(client: docker.APIClient, run_ids: Sequence[str]) -> None:
    """Remove the containers and networks of these runs; what another process removed is fine."""
    for run_id in run_ids:
        filters = {"label": [f"{Label.RUN}={run_id}"]}
        for container in client.containers(all=True, filters=filters):
            with contextlib.suppress(docker.errors.NotFound):
                client.remove_container(container["Id"], force=True, v=True)
        for network in client.networks(filters=filters):
            with contextlib.suppress(docker.errors.NotFound):
                client.remove_network(network["Id"])
