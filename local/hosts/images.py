"""Where images come from, and what a container of one would run on this very machine.

Docker builds an image from its source; the process runtime reads the same Dockerfile and runs
the same program on the host, with the build context in place of the image's working directory.
"""

import hashlib
import posixpath
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from local.hosts.base import CannotPullImageError, CannotStartError
from local.hosts.dockerfile import DockerfileError, ImageConfig, read_dockerfile

__all__ = [
    "DockerfileError",
    "ImageConfig",
    "ImageSource",
    "Program",
    "cannot_pull",
    "find_source",
    "full_name",
    "program_of",
    "read_dockerfile",
    "resolve",
    "session_image",
]

SESSION_IMAGE = "usher-session"
FOLDER = "dir:"
"""An image `dir:/absolute/path` is built from the Dockerfile in that folder."""

_ROOT = Path(__file__).resolve().parents[2]

_PYTHON = re.compile(r"python(3(\.\d+)?)?")


@dataclass(frozen=True)
class ImageSource:
    """How to make the image called `name`."""

    name: str
    dockerfile: Path
    context: Path
    include: tuple[str, ...] = ()
    """Paths below `context` that the build needs; empty means all that .dockerignore leaves."""
    requirements: tuple[Path, ...] | None = None
    """Requirements files whose wheels the build finds in `wheels/` of its context, so that it
    works where no package index can be reached. `wheels/` is empty when they are not to be had, and
    there is no such folder with None."""
    beside: Mapping[str, Path] = field(default_factory=dict)
    """What the build finds in its context besides, unless the context has it itself: path in it to
    a file or folder."""
    python_path: Path | None = None
    """For the process runtime: where Python looks for what the image would hold besides."""
    changes: bool = False
    """Whether it is looked at anew with every start."""


@dataclass(frozen=True)
class Program:
    """What to run on the host in place of a container."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    working_directory: Path
    user: str | None


def session_image(root: Path) -> ImageSource:
    """The source of the session container, in a checkout of this project at `root`."""
    return ImageSource(
        name=SESSION_IMAGE,
        dockerfile=root / "session_handler" / "Dockerfile",
        context=root,
        include=("session_handler", "chalicelib/__init__.py", "chalicelib/contract"),
        requirements=(root / "session_handler" / "requirements.txt",),
    )


def folder_image(image: str) -> ImageSource | None:
    """The source of an image `dir:/absolute/path`; None for any other image.

    Its build finds this checkout's `usher` and `chalicelib.contract` in the context, as it would
    in the root of the project, and the wheels of usher and of the folder's requirements.txt in
    `wheels/`.
    Raises CannotPullImageError for a folder that is none.
    """
    if not image.startswith(FOLDER):
        return None
    folder = Path(image.removeprefix(FOLDER))
    if not folder.is_absolute() or not folder.is_dir():
        raise cannot_pull(image, "no such folder; the path must be absolute")
    requirements = (_ROOT / "usher" / "requirements.txt", folder / "requirements.txt")
    besides = ("usher", "chalicelib/__init__.py", "chalicelib/contract")
    return ImageSource(
        name=_name_of(folder),
        dockerfile=folder / "Dockerfile",
        context=folder,
        requirements=tuple(file for file in requirements if file.is_file()),
        beside={name: _ROOT / name for name in besides},
        python_path=_ROOT,
        changes=True,
    )


def _name_of(folder: Path) -> str:
    """A name that Docker takes, different for every folder."""
    words = re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")
    return f"usher-dir/{words or 'folder'}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"


def full_name(image: str) -> str:
    """The image name with its tag: `latest` unless it has one, or a digest."""
    if image.startswith(FOLDER):
        return image
    if "@" in image or ":" in image.rpartition("/")[2]:
        return image
    return f"{image}:latest"


def cannot_pull(image: str, why: str = "not found") -> CannotPullImageError:
    """The error in the words of ECS's stopped reason."""
    name = full_name(image)
    return CannotPullImageError(
        f"CannotPullContainerError: pull image manifest has been retried 1 time(s): "
        f"failed to resolve ref {name}: {why}"
    )


def find_source(image: str, sources: Iterable[ImageSource]) -> ImageSource | None:
    """The source of the image, or None. Raises CannotPullImageError, see `folder_image`."""
    folder = folder_image(image)
    if folder is not None:
        return folder
    wanted = full_name(image)
    return next((source for source in sources if full_name(source.name) == wanted), None)


def resolve(
    image: str,
    sources: Iterable[ImageSource],
    *,
    entry_point: Sequence[str] | None = None,
    command: Sequence[str] | None = None,
    working_directory: str | None = None,
) -> Program:
    """What a container of `image` runs, with a container definition's own settings on top.

    Raises CannotPullImageError for an image without a readable source, CannotStartError for one
    without a program.
    """
    source = find_source(image, sources)
    if source is None:
        raise cannot_pull(image)
    try:
        config = read_dockerfile(source.dockerfile)
    except DockerfileError as error:
        raise cannot_pull(image, str(error)) from error
    program = program_of(
        config,
        source.context,
        entry_point=entry_point,
        command=command,
        working_directory=working_directory,
    )
    if source.python_path is None:
        return program
    path = filter(None, (program.environment.get("PYTHONPATH"), str(source.python_path)))
    return replace(program, environment={**program.environment, "PYTHONPATH": ":".join(path)})


def program_of(
    config: ImageConfig,
    context: Path,
    *,
    entry_point: Sequence[str] | None = None,
    command: Sequence[str] | None = None,
    working_directory: str | None = None,
) -> Program:
    """The image's program with paths below its working directory led to `context`.

    As with Docker, an entry point of the container definition also does away with the image's
    command. PATH stays the host's, as an image's names folders that are not here.
    Raises CannotStartError when nothing is left to run.
    """
    home = config.working_directory
    words = [*(entry_point or config.entry_point)]
    words += command or (() if entry_point else config.command)
    if not words:
        raise CannotStartError(
            "CannotStartContainerError: Error response from daemon: No command specified"
        )
    argv = tuple(_on_host(word, home, context) for word in words)
    if _PYTHON.fullmatch(posixpath.basename(argv[0])) and not argv[0].startswith(str(context)):
        argv = (sys.executable, *argv[1:])
    directory = Path(_on_host(posixpath.join(home, working_directory or ""), home, context))
    environment = {name: value for name, value in config.environment.items() if name != "PATH"}
    return Program(argv, environment, directory, config.user)


def _on_host(word: str, home: str, context: Path) -> str:
    """`word`, or where it is on the host if it is a path below the image's working directory."""
    path = posixpath.normpath(word)
    if home == "/":
        return str(context) if path == "/" else word
    if path == home:
        return str(context)
    below = path.removeprefix(home + "/")
    if below == path or not (context / below).exists():
        return word
    return str(context / below)
