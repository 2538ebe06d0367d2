"""The judge of the embedded cloud: a process of this machine beside its boxes, with any runtime.

Containers of the run have neither an engine socket nor the rights to make namespaces, so the
judge's image starts on the machine itself. It is this project's own program; untrusted code runs in
the boxes that it makes.
"""

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from chalicelib.jobs.judge import judge_task_definition
from local.aws.provision import ACCOUNT
from local.hosts.base import ContainerSpec, Exit, Host
from local.hosts.base_image import NoBaseImageError, ensure_base
from local.hosts.docker_engine import connect
from local.hosts.images import ImageSource
from usher.box.docker_box import docker_missing
from usher.box.guard_runtime import DEFAULT_BASE
from usher.box.model import NoBoxError
from usher.box.runtimes import choose_boxes
from usher.grading.folders import read_files

IMAGE = "usher-judge"
CLUSTER = "usher-{stage}-graders"
"""The cluster of judges, and their capacity provider."""
HOST = "graders-1"
_PASSED_ON = ("DOCKER_HOST", "XDG_RUNTIME_DIR", "USHER_BASE_IMAGE")
"""Variables of this program's environment that determine how boxes are made here."""
_MARK = "judge:"


log = logging.getLogger(__name__)


@cache
def base_image() -> str | None:
    """The default image of graders, also without access to a registry; None if there is no Docker
    or no base is available: the judge then reports that.
    """
    if "USHER_BASE_IMAGE" in os.environ or docker_missing():
        return None
    client = connect()
    try:
        return ensure_base(client, DEFAULT_BASE, log.info)
    except NoBaseImageError as error:
        log.warning("graders that name no image cannot be marked: %s", error)
        return None
    finally:
        client.close()


@cache
def why_not() -> str | None:
    """Why nothing can be marked on this machine; None where it can."""
    try:
        choose_boxes()
    except NoBoxError as error:
        return str(error)
    return None


def image(root: Path) -> ImageSource:
    """The source of the judge's image, in a checkout of this project at `root`."""
    folder = root / "usher" / "judge"
    return ImageSource(IMAGE, folder / "Dockerfile", folder, python_path=root)


def task_definition(stage: str, region: str) -> dict[str, Any]:
    """The RegisterTaskDefinition request of the judge."""
    role = f"arn:aws:iam::{ACCOUNT}:role/usher-{stage}-judge"
    request = judge_task_definition(
        IMAGE, stage=stage, region=region, log_group=f"/usher/{stage}/jobs"
    )
    return {**request, "taskRoleArn": role}


class HostWithJudge:
    """A host, and beside it processes of the machine for the judge's image only."""

    def __init__(
        self, host: Host, make_judges: Callable[[], Host], scratch: Path, gateway: str | None = None
    ) -> None:
        """`make_judges` creates the host of the judges when the first one is started. `gateway`:
        the address at which containers reach the servers of this machine; it accepts only them, so
        judges use the loopback address instead.

        `scratch`: directory of judges and their boxes. It is removed with the run, because a killed
        judge removes nothing.
        """
        self._host = host
        self._make_judges = make_judges
        self._scratch = scratch
        self._gateway = gateway
        self._judges: Host | None = None
        self._lock = threading.Lock()

    @property
    def runtime(self) -> str:
        return self._host.runtime

    @property
    def isolation(self) -> str:
        return self._host.isolation

    @property
    def alive(self) -> bool:
        return self._host.alive

    def start(self, spec: ContainerSpec, on_exit: Callable[[Exit], None]) -> str:
        if spec.image != IMAGE:
            return self._host.start(spec, on_exit)
        with self._lock:
            self._judges = self._judges or self._make_judges()
            judges = self._judges
        base = base_image()
        self._scratch.mkdir(mode=0o711, exist_ok=True)
        given = {"TMPDIR": str(self._scratch)}
        given |= {} if base is None else {"USHER_BASE_IMAGE": base}
        given |= {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        bare = replace(
            spec,
            environment={**on_loopback(spec.environment, self._gateway), **given},
            memory_mib=None,  # its boxes have separate limits
            user=None,
            read_only_root=False,
            tmpfs={},
            ulimits={},
        )
        return _MARK + judges.start(bare, on_exit)

    def signal(self, runtime_id: str, signal_name: str) -> None:
        host, name = self._of(runtime_id)
        host.signal(name, signal_name)

    def healthy(self, runtime_id: str, command: Sequence[str], timeout_seconds: float) -> bool:
        host, name = self._of(runtime_id)
        return host.healthy(name, command, timeout_seconds)

    def kill(self) -> None:
        for host in (self._judges, self._host):
            if host is not None:
                host.kill()

    def close(self) -> None:
        for host in (self._judges, self._host):
            if host is not None:
                host.close()

    def _of(self, runtime_id: str) -> tuple[Host, str]:
        if runtime_id.startswith(_MARK) and self._judges is not None:
            return self._judges, runtime_id.removeprefix(_MARK)
        return self._host, runtime_id


def on_loopback(environment: Mapping[str, str], gateway: str | None) -> dict[str, str]:
    """The variables with URLs at the gateway led to the same ports of the loopback."""
    if gateway is None:
        return dict(environment)
    return {k: v.replace(f"//{gateway}:", "//127.0.0.1:") for k, v in environment.items()}


def put_assignment(url: str, folder: Path) -> None:
    """Create the assignment in `folder`, with the folder's name, at the dispatcher at `url`.

    Raises GraderError for a folder that is none, UsherError where it is refused.
    """
    from usher.client import Client

    Client(url).put_assignment(folder.resolve().name, read_files(folder))
