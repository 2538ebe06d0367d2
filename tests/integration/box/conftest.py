"""Both runtimes, and how a hostile program of one file is put into them."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import pytest

from local.hosts.base_image import ensure_base
from local.hosts.docker_engine import connect
from tests.needs import needs_bubblewrap, needs_docker
from usher.box.bubblewrap_box import BubblewrapBoxes
from usher.box.docker_box import DockerBoxes
from usher.box.model import BoxSettings, File, Outcome, Task
from usher.box.runtimes import Boxes


@cache
def python_image() -> str:
    """An image with Python, also where no registry can be reached."""
    if wanted := os.environ.get("USHER_BASE_IMAGE"):
        return wanted
    client = connect()
    try:
        return ensure_base(client, "python:3.11-slim", print)
    finally:
        client.close()


@dataclass(frozen=True)
class Place:
    """A runtime, and the image that its boxes have."""

    boxes: Boxes
    image: str = ""

    @property
    def name(self) -> str:
        return self.boxes.name

    def run(self, program: str, settings: BoxSettings, *words: str, **more) -> Outcome:
        """Run a Python program in a box."""
        argv = ("python3", "hostile.py", *words)
        files = {"hostile.py": File(program.encode()), **more.pop("files", {})}
        return self.boxes.run(Task(argv, files, image=self.image, **more), settings)


@pytest.fixture(
    scope="module",
    params=[needs_docker.parameter("docker"), needs_bubblewrap.parameter("bubblewrap")],
)
def place(request) -> Iterator[Place]:
    """One for all tests of a module: a later run finds the remains of an earlier one."""
    if request.param == "docker":
        with contextlib.closing(DockerBoxes(python_image())) as boxes:
            yield Place(boxes, python_image())
    else:
        with contextlib.closing(BubblewrapBoxes()) as boxes:
            yield Place(boxes)
