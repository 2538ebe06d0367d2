"""Shared by the benchmarks of one run."""

import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.processes import kill_marked
from benchmarks.report import Report

ROOT = Path(__file__).parent.parent
MINIMAL = Path(__file__).parent / "minimal"
MINIMAL_IMAGE = "usher-benchmark-minimal"
LABEL = "usher.benchmark"
"""Label of Docker containers started here."""


class SkipError(Exception):
    """This cannot be measured here; the message says why."""


@dataclass
class Run:
    """One run: how much is measured, what came of it, and the mark of what it starts."""

    quick: bool
    report: Report = field(default_factory=Report)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    _began: float = field(default_factory=time.monotonic)

    def many(self, full: int, quick: int) -> int:
        """How often: `full` times, `quick` times with --quick."""
        return quick if self.quick else full

    def say(self, text: str) -> None:
        """Progress, on stderr."""
        print(f"{time.monotonic() - self._began:7.1f}  {text}", file=sys.stderr, flush=True)

    @contextmanager
    def clean(self) -> Iterator["Run"]:
        """At the end, in any case, everything that was started here is removed."""
        try:
            yield self
        finally:
            if left := kill_marked(self.mark):
                self.say(f"killed {left} processes that were left")
            remove_containers(self.mark)


def need_docker() -> None:
    """Raises SkipError where containers cannot be had from Docker."""
    from local.hosts.docker import docker_available

    if problem := docker_available():
        raise SkipError(problem)
    if not shutil.which("docker"):
        raise SkipError("the docker command line is not installed")


def remove_containers(mark: str) -> None:
    """Remove all Docker containers with this mark."""
    if not shutil.which("docker"):
        return
    listed = subprocess.run(
        ["docker", "ps", "--all", "--quiet", "--filter", f"label={LABEL}={mark}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if ids := listed.stdout.split():
        subprocess.run(["docker", "rm", "--force", *ids], capture_output=True, check=False)
