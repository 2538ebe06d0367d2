"""The image of a grader: named, built from its Dockerfile, or the default with Debian and
Python.
"""

import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.contract.assignments import DOCKERFILE
from usher.box.docker_box import docker_missing
from usher.box.engine import Engine, EngineError, socket_path
from usher.box.guard_runtime import DEFAULT_BASE
from usher.box.model import BoxError
from usher.errors import UsherError
from usher.grading.folders import GraderFolder
from usher.grading.image_cleaning import BUILT, CleanImage, ImageRefusedError, clean_image
from usher.grading.registry import RegistryError, pull_headers

BUILD_SECONDS = 600
PULL_SECONDS = 300.0


class ImageError(UsherError):
    """The image does not exist and cannot be pulled or built; the message has the reason."""


def image_for(
    folder: GraderFolder, default: str | None = None, pinned: str | None = None
) -> CleanImage:
    """The grader's image on this machine, pulled or built if it is missing, and cleaned.

    `pinned` is the result of its preparation and replaces its name; images that are built from a
    Dockerfile are identified by their files instead.
    Raises ImageError. Returns an id, because a name may be moved between two cases.
    """
    if why := docker_missing():
        raise ImageError(why)
    if DOCKERFILE in folder.files:
        image = _build(folder, default)
    else:
        image = _present(pinned or folder.grader.image or default or DEFAULT_BASE)
    try:
        named = folder.grader.image or ""
        return clean_image(Engine(socket_path() or ""), image, default or DEFAULT_BASE, named)
    except (BoxError, ImageRefusedError) as error:
        raise ImageError(str(error)) from error


def _present(name: str) -> str:
    engine = Engine(socket_path() or "")
    try:
        return _id(engine, name)
    except EngineError as error:
        if error.status != 404:
            raise ImageError(str(error)) from error
    reference = name if "@" in name or ":" in name.rpartition("/")[2] else f"{name}:latest"
    try:
        query = {"fromImage": reference}
        headers = pull_headers(name)
        engine.call("POST", "/images/create", query, seconds=PULL_SECONDS, headers=headers)
        return _id(engine, name)
    except (EngineError, RegistryError) as error:
        raise ImageError(
            f"the image {name} is not on this machine and cannot be pulled: {error} "
            "(--runtime bubblewrap uses this machine's tools)"
        ) from error


def _id(engine: Engine, name: str) -> str:
    return str(engine.call("GET", f"/images/{name}/json")["Id"])


@dataclass(frozen=True)
class ImageCommand:
    """The default command of an image."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    work: str


def image_command(image: str) -> ImageCommand:
    """Raises ImageError if the image has none."""
    try:
        config = Engine(socket_path() or "").call("GET", f"/images/{image}/json")["Config"]
    except EngineError as error:
        raise ImageError(str(error)) from error
    argv = (*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ()))
    if not argv:
        raise ImageError("the image has neither an ENTRYPOINT nor a CMD")
    pairs = (entry.partition("=") for entry in config.get("Env") or ())
    environment = {name: value for name, _, value in pairs}
    return ImageCommand(argv, environment, config.get("WorkingDir") or "/")


def _digest(folder: GraderFolder, base: str | None) -> str:
    found = hashlib.sha256(repr(base).encode())
    for path, data in sorted(folder.files.items()):
        found.update(f"{len(path)} {path} {len(data)} ".encode())
        found.update(data)
    return found.hexdigest()[:24]


def _build(folder: GraderFolder, base: str | None) -> str:
    """Build the image with the docker command, which supports all of a Dockerfile's syntax.

    `ARG USHER_BASE_IMAGE` in it is this machine's base image of graders. The image's name is
    derived from its files, so that a grader is built once, in any directory.
    """
    tag = f"{BUILT}/{_digest(folder, base)}"
    arguments = ["--build-arg", f"USHER_BASE_IMAGE={base}"] if base else []
    command = ["docker", "build", "--quiet", "--tag", tag, *arguments, str(folder.path)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=BUILD_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ImageError(f"the image cannot be built: {error}") from error
    if done.returncode:
        raise ImageError(f"the image cannot be built:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout.strip()
