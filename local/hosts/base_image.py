"""The base of session images, also without access to a registry.

In this order: the wanted image if it is on this machine; a base created here earlier; a pull; a
base created here now, with debootstrap from a Debian mirror. It is kept as a tar in the user's
cache directory, so that it is created once even if Docker's images are removed.
"""

import hashlib
import json
import os
import queue
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import docker

from local.hosts.cache import cache_folder, locked

Progress = Callable[[str], None]
"""Receives one line for display."""

PULL_SILENCE_SECONDS = 10.0
"""A pull without progress for this long is given up."""

SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
REPOSITORY = "usher-base"


class NoBaseImageError(Exception):
    """There is no base image and none can be created; the message has the reason and a remedy."""


@dataclass(frozen=True)
class Recipe:
    """How to create a base. Any change of it creates another image."""

    packages: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """Symbolic links as (path, target), absolute."""
    environment: tuple[str, ...] = ()
    suite: str = SUITE
    left_out: tuple[str, ...] = (
        "dev",
        "usr/share/doc",
        "usr/share/info",
        "usr/share/locale",
        "usr/share/man",
        "var/cache",
        "var/lib/apt/lists",
        "var/log",
    )
    """The content of these directories is not packed; the directories themselves are."""

    @property
    def tag(self) -> str:
        """The name of its image: changes whenever the recipe does."""
        text = json.dumps([self.__dict__, "set-id bits stripped"], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        return f"{REPOSITORY}:{self.suite}-{digest}"


RECIPES: Mapping[str, Recipe] = {
    "python": Recipe(
        packages=("ca-certificates", "python3"),
        links=(("usr/local/bin/python", "/usr/bin/python3"),),
        # The name of the version in Python images; it selects the wheels.
        environment=("PYTHON_VERSION=3.11",),
    ),
    "node": Recipe(packages=("ca-certificates", "nodejs")),
    "debian": Recipe(),
}
"""Recipes of replacements, by repository name of the wanted image."""


def ensure_base(client: docker.APIClient, wanted: str, on_progress: Progress) -> str:
    """Name of an image on this machine that can replace `wanted`.

    Raises NoBaseImageError.
    """
    if has_image(client, wanted):
        return wanted
    recipe = RECIPES.get(wanted.rpartition("/")[2].partition(":")[0])
    if recipe and has_image(client, recipe.tag):
        return recipe.tag
    on_progress(f"pulling {wanted}")
    trouble = pull(client, wanted)
    if trouble is None:
        return wanted
    if recipe is None:
        raise NoBaseImageError(f"{wanted} cannot be pulled: {trouble}")
    on_progress(f"{wanted} cannot be pulled ({trouble}); making a base image here")
    try:
        make_base(client, recipe, on_progress)
    except NoBaseImageError as error:
        raise NoBaseImageError(f"{wanted} cannot be pulled ({trouble}), and {error}") from error
    return recipe.tag


def make_base(client: docker.APIClient, recipe: Recipe, on_progress: Progress) -> str:
    """Name of the image created by `recipe`; from this machine or its cache if it was created
    before.

    Raises NoBaseImageError.
    """
    with locked("base-image"):
        if not has_image(client, recipe.tag):
            archive = cache_folder() / f"{recipe.tag.replace(':', '-')}.tar.gz"
            if not archive.exists():
                _debootstrap(recipe, archive, on_progress)
            on_progress(f"importing {recipe.tag}")
            _import(client, recipe, archive)
    return recipe.tag


def has_image(client: docker.APIClient, name: str) -> bool:
    try:
        client.inspect_image(name)
    except docker.errors.ImageNotFound:
        return False
    return True


def pull(client: docker.APIClient, name: str) -> str | None:
    """Pull an image; returns None, or the reason of the failure."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        try:
            repository, tag = docker.utils.parse_repository_tag(name)
            for line in client.pull(repository, tag or "latest", stream=True, decode=True):
                lines.put(str(line.get("error", "")))
        except docker.errors.APIError as error:
            lines.put(str(error.explanation))
        except (docker.errors.DockerException, OSError) as error:
            lines.put(str(error))
        lines.put(None)

    # The engine has no timeout for a pull, so another thread waits for it and may be left behind.
    threading.Thread(target=read, name=f"pull-{name}", daemon=True).start()
    trouble: str | None = None
    while True:
        try:
            line = lines.get(timeout=PULL_SILENCE_SECONDS)
        except queue.Empty:
            return f"the registry has been silent for {PULL_SILENCE_SECONDS:.0f} s"
        if line is None:
            return trouble
        trouble = trouble or line or None


def _import(client: docker.APIClient, recipe: Recipe, archive: Path) -> None:
    repository, _, tag = recipe.tag.partition(":")
    changes = ['CMD ["/bin/sh"]', *(f"ENV {variable}" for variable in recipe.environment)]
    answer = client.import_image_from_file(
        str(archive), repository=repository, tag=tag, changes=changes
    )
    if '"error"' in answer:
        raise NoBaseImageError(f"Docker does not import {archive}: {answer}")


def why_not_made_here() -> str | None:
    """Why this process cannot make a base image; None when it can."""
    if not shutil.which("debootstrap"):
        return "none can be made here without debootstrap (apt-get install debootstrap)"
    if os.geteuid() != 0:
        return "only root can make one here with debootstrap"
    return None


def _debootstrap(recipe: Recipe, archive: Path, on_progress: Progress) -> None:
    if reason := why_not_made_here():
        raise NoBaseImageError(reason)
    with tempfile.TemporaryDirectory(prefix="usher-base-") as folder:
        root = Path(folder) / "root"
        _run(_debootstrap_command(recipe, root), on_progress)
        on_progress("packing the base image")
        partial = archive.with_name(f"{archive.name}.{os.getpid()}")
        try:
            with tarfile.open(partial, "w:gz", compresslevel=1) as tar:
                tar.add(root, arcname=".", filter=lambda entry: packed(entry, recipe.left_out))
                for path, target in recipe.links:
                    tar.addfile(_link(path, target))
            partial.replace(archive)
        finally:
            partial.unlink(missing_ok=True)


def _debootstrap_command(recipe: Recipe, root: Path) -> list[str]:
    include = [f"--include={','.join(recipe.packages)}"] if recipe.packages else []
    command = ["debootstrap", "--variant=minbase", *include, recipe.suite, str(root), MIRROR]
    # In a separate mount namespace: its mounts below the root disappear when it ends, before the
    # directory is removed.
    return ["unshare", "--mount", *command] if shutil.which("unshare") else command


def _run(command: list[str], on_progress: Progress) -> None:
    """Run debootstrap, telling of each new phase. Raises NoBaseImageError with its last words."""
    last_lines: list[str] = []
    to_tell = ["retrieving", "extracting", "installing", "unpacking", "configuring"]
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    ) as process:
        for line in process.stdout or ():
            last_lines = [*last_lines[-4:], line.strip()]
            phase = line.removeprefix("I: ").partition(" ")[0].lower()
            if phase in to_tell:
                to_tell.remove(phase)
                on_progress(f"base image: {phase} Debian packages")
    if process.returncode != 0:
        raise NoBaseImageError(f"debootstrap failed: {' | '.join(last_lines)}")


def packed(entry: tarfile.TarInfo, left_out: Iterable[str]) -> tarfile.TarInfo | None:
    """The entry for the base, without set-id bits; None if it is left out."""
    path = entry.name.removeprefix("./")
    if entry.ischr() or entry.isblk() or entry.isfifo():
        return None
    if any(path.startswith(f"{prefix}/") for prefix in left_out):
        return None
    entry.mode &= ~0o6000
    return entry


def _link(path: str, target: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(f"./{path}")
    entry.type = tarfile.SYMTYPE
    entry.linkname = target
    return entry
