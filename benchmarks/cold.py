"""From GET /session to an open websocket with nothing started ahead, against starting it bare."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from benchmarks.cloud import Cloud, running_cloud
from benchmarks.contestants import (
    MINIMAL_SERVER,
    SESSION,
    BareContainer,
    BareProcess,
    Dispatched,
    Feed,
)
from benchmarks.jupyterhub import Hub, JupyterHub, running_hub
from benchmarks.race import Contestant, race_at_once, race_one_by_one
from benchmarks.run import MINIMAL, MINIMAL_IMAGE, ROOT, Run, SkipError, need_docker

USERS = 20


def measure_cold(run: Run) -> None:
    """Both runtimes, our container and the smallest one there is."""
    _measured(run, "cold, process", partial(_cold_processes, run))
    _measured(run, "cold, docker", partial(_cold_docker, run))


def measure_jupyterhub(run: Run) -> None:
    """The smallest container, dispatched and as the single-user server of a JupyterHub."""
    for runtime in ("process", "docker"):
        group = f"jupyterhub, {runtime}"
        _measured(run, group, partial(_against_hub, run, runtime, group))


def _measured(run: Run, group: str, measure: Callable[[], None]) -> None:
    try:
        measure()
    except SkipError as reason:
        run.report.skip(group, str(reason))


def _cold_processes(run: Run) -> None:
    with running_cloud(run, "process") as cloud:
        feed = Feed(cloud)
        contestants: list[Contestant] = [
            BareProcess("bare session", run, SESSION, feed),
            Dispatched("session", cloud, "session", "bare session", feed),
            BareProcess("bare minimal", run, MINIMAL_SERVER),
            Dispatched("minimal", cloud, "minimal", "bare minimal"),
        ]
        _race(run, "cold, process", contestants)


def _cold_docker(run: Run) -> None:
    need_docker()
    with running_cloud(run, "docker") as cloud:
        feed = Feed(cloud)
        contestants: list[Contestant] = [
            BareContainer("docker run session", run, docker_image("session")),
            Dispatched("session", cloud, "session", "docker run session", feed),
            BareContainer("docker run minimal", run, docker_image("minimal")),
            Dispatched("minimal", cloud, "minimal", "docker run minimal"),
        ]
        _race(run, "cold, docker", contestants)


def _against_hub(run: Run, runtime: str, group: str) -> None:
    if runtime == "docker":
        need_docker()
    with ExitStack() as stack:
        cloud: Cloud = stack.enter_context(running_cloud(run, runtime))
        image = docker_image("minimal") if runtime == "docker" else None
        hub: Hub = stack.enter_context(running_hub(run, USERS, image))
        bare: Contestant
        if image:
            bare = BareContainer("docker run minimal", run, image)
        else:
            bare = BareProcess("bare minimal", run, MINIMAL_SERVER)
        contestants: list[Contestant] = [
            bare,
            JupyterHub(hub, bare.name),
            Dispatched("minimal", cloud, "minimal", bare.name),
        ]
        _race(run, group, contestants)


def _race(run: Run, group: str, contestants: list[Contestant]) -> None:
    race_one_by_one(run, group, contestants, run.many(20, 2))
    race_at_once(run, group, contestants, run.many(3, 1), USERS)


def docker_image(app: str) -> str:
    """Docker's name of an app's image, which is built if it is missing."""
    from local.hosts.docker_engine import connect
    from local.hosts.image_builder import ImageBuilder
    from local.hosts.images import ImageSource, session_image

    sources = [
        session_image(ROOT),
        ImageSource(MINIMAL_IMAGE, dockerfile=MINIMAL / "Dockerfile", context=MINIMAL),
    ]
    client = connect()
    try:
        builder = ImageBuilder(client, sources, lambda _: None)
        return builder.image(MINIMAL_IMAGE if app == "minimal" else "usher-session")
    finally:
        client.close()
