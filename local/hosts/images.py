"""Sources of images, and the program of their containers on this machine.

Docker builds an image from its source; the process runtime parses the same Dockerfile and runs the
same program on the host, with the build context in place of the image's working directory.
"""

import hashlib
import posixpath
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from local.hosts.base import CannotPullImageError, CannotStartError
from local.hosts.dockerfile import (
    DockerfileError,
    ImageConfig,
    bases_of,
    parse_dockerfile,
    read_dockerfile,
    read_text,
)
from local.hosts.own_package import own_package

__all__ = [
    "DockerfileError",
    "ImageConfig",
    "ImageSource",
    "Program",
    "cannot_pull",
    "find_source",
    "full_name",
    "known_base",
    "named_image",
    "program_of",
    "read_config",
    "read_dockerfile",
    "resolve",
    "session_image",
]

SESSION_IMAGE = "usher-session"
FOLDER = "dir:"
"""An image `dir:/absolute/path` is built from the Dockerfile in that folder."""

ADDED_TO_CONTEXT = frozenset({"wheels", "usher"})
"""Entries of a build's context that the directory need not have."""
GLOB_CHARACTERS = frozenset("*?[")

_ROOT = Path(__file__).resolve().parents[2]

_PYTHON = re.compile(r"python(3(\.\d+)?)?")


@dataclass(frozen=True)
class ImageSource:
    """The source of the image called `name`."""

    name: str
    dockerfile: Path
    context: Path
    include: tuple[str, ...] = ()
    """Paths below `context` that the build needs; empty means all that .dockerignore leaves."""
    requirements: tuple[Path, ...] | None = None
    """Requirements files, or locks (`.lock`: exact versions and hashes), whose wheels the build
    finds in `wheels/` of its context, so that it needs no package index. `wheels/` is empty if they
    are not available, and missing with None."""
    beside: Mapping[str, Path] = field(default_factory=dict)
    """Further entries of the build's context, unless the context has them itself: path in it to a
    file or directory."""
    python_path: Path | None = None
    """Python's search path for further modules of the image, for the process runtime."""
    changes: bool = False
    """Whether it is looked at anew with every start."""


@dataclass(frozen=True)
class Program:
    """The program to run on the host in place of a container."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    working_directory: Path
    user: str | None
    python_path: tuple[Path, ...] = ()
    """Folders below which Python looks for modules; they are in PYTHONPATH already."""
    volumes: frozenset[str] = frozenset()
    """The paths that the image declares with VOLUME."""


def session_image(root: Path) -> ImageSource:
    """The source of the session container, in a checkout of this project at `root`."""
    return ImageSource(
        name=SESSION_IMAGE,
        dockerfile=root / "session_handler" / "Dockerfile",
        context=root,
        include=("session_handler", "chalicelib/__init__.py", "chalicelib/contract"),
        requirements=(root / "session_handler" / "requirements.lock",),
    )


def named_image(name: str, folder: Path, *, changes: bool = False) -> ImageSource:
    """The source of an image called `name`, built by the Dockerfile in `folder`.

    An image that is based on the session image finds the wheels of its requirements.txt in
    `wheels/`.
    """
    dockerfile, requirements = folder / "Dockerfile", folder / "requirements.txt"
    wheels: tuple[Path, ...] | None = None
    with suppress(DockerfileError):  # told when it is built or started
        text = read_text(dockerfile)
        parse_dockerfile(text)
        if any(full_name(base) == full_name(SESSION_IMAGE) for base in bases_of(text)):
            wheels = (requirements,) if requirements.is_file() else ()
    return ImageSource(
        name=name, dockerfile=dockerfile, context=folder, requirements=wheels, changes=changes
    )


def folder_image(image: str) -> ImageSource | None:
    """The source of an image `dir:/absolute/path`; None for any other image.

    Its build finds this checkout's `usher` in the context, as wheels have it, and in `wheels/` the
    wheels of usher and of the folder's requirements.lock, or requirements.txt. One that is built on
    the session image is a session app's, see `named_image`.
    Raises CannotPullImageError for a folder that is none.
    """
    if not image.startswith(FOLDER):
        return None
    folder = Path(image.removeprefix(FOLDER))
    if not folder.is_absolute() or not folder.is_dir():
        raise cannot_pull(image, "no such folder; the path must be absolute")
    on_session_image = named_image(_name_of(folder), folder, changes=True)
    if on_session_image.requirements is not None:
        return on_session_image
    lock = folder / "requirements.lock"
    theirs = lock if lock.is_file() else folder / "requirements.txt"
    requirements = (_ROOT / "usher" / "requirements.lock", theirs)
    package = own_package()
    return ImageSource(
        name=_name_of(folder),
        dockerfile=folder / "Dockerfile",
        context=folder,
        requirements=tuple(file for file in requirements if file.is_file()),
        beside={name: package / name for name in ("usher", "chalicelib")},
        python_path=package,
        changes=True,
    )


def _name_of(folder: Path) -> str:
    """A name that Docker takes, different for every folder."""
    parts = re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")
    return f"usher-dir/{parts or 'folder'}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"


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


def known_base(image: str, sources: Iterable[ImageSource]) -> ImageSource | None:
    """The source of an image that a Dockerfile's FROM names; None for one from a registry."""
    wanted = full_name(image)
    return next((source for source in sources if full_name(source.name) == wanted), None)


def read_config(source: ImageSource, sources: Iterable[ImageSource]) -> ImageConfig:
    """The settings of the image of `source` for its containers, including known bases.

    Raises DockerfileError, also for circular bases.
    """
    known = tuple(sources)

    def read(source: ImageSource, above: tuple[str, ...]) -> ImageConfig:
        if source.name in above:
            circle = " from ".join([*above, source.name])
            raise DockerfileError(f"{source.dockerfile}:0: {circle}: built on itself")

        def base_config(image: str) -> ImageConfig | None:
            base = known_base(image, known)
            return read(base, (*above, source.name)) if base else None

        return read_dockerfile(source.dockerfile, base_config)

    return read(source, ())


def resolve(
    image: str,
    sources: Iterable[ImageSource],
    *,
    entry_point: Sequence[str] | None = None,
    command: Sequence[str] | None = None,
    working_directory: str | None = None,
    packages: Path | None = None,
) -> Program:
    """The program of a container of `image`, with a container definition's settings applied.

    `packages` is a directory with the packages of the image's requirements.txt, if they were
    installed. Raises CannotPullImageError for an image without a readable source, CannotStartError
    for one without a program.
    """
    sources = tuple(sources)
    source = find_source(image, sources)
    if source is None:
        raise cannot_pull(image)
    try:
        config = read_config(source, sources)
    except DockerfileError as error:
        raise cannot_pull(image, str(error)) from error
    if absent := missing_sources(config, source.context, source.beside):
        raise cannot_pull(image, f"{source.dockerfile}: COPY {', '.join(absent)}: not found")
    program = program_of(
        config,
        source.context,
        entry_point=entry_point,
        command=command,
        working_directory=working_directory,
    )
    program = replace(program, volumes=config.volumes)
    folders = tuple(dict.fromkeys(_python_folders(source, config, sources, packages)))
    if not folders:
        return program
    path = filter(None, (program.environment.get("PYTHONPATH"), *map(str, folders)))
    environment = {**program.environment, "PYTHONPATH": ":".join(path)}
    return replace(program, environment=environment, python_path=folders)


def missing_sources(config: ImageConfig, context: Path, beside: Iterable[str] = ()) -> list[str]:
    """Copies of the last stage whose sources are missing in the build context: the build would
    fail.

    Files that .dockerignore excludes count as present. `beside`: further entries of the context.
    """
    added = {*ADDED_TO_CONTEXT, *beside}

    def is_there(path: str) -> bool:
        if (context / path).exists() or path.partition("/")[0] in added:
            return True
        return bool(GLOB_CHARACTERS & set(path)) and any(context.glob(path))

    copied = dict.fromkeys(path.lstrip("/") for path, _ in config.copied)
    return [path for path in copied if not is_there(path)]


def _python_folders(
    source: ImageSource, config: ImageConfig, sources: Sequence[ImageSource], packages: Path | None
) -> Iterator[Path]:
    """The directories of the modules that the image has in its working directory."""
    for copied, target in config.copied:
        path = source.context / copied
        folder = path if path.is_dir() else path.parent
        below = folder.resolve().is_relative_to(source.context.resolve())
        if target == config.working_directory and below and folder != source.context:
            yield folder
    if packages is not None:
        yield packages
    if source.python_path is not None:
        yield source.python_path
    base = config.base
    while base is not None and (below_it := known_base(base, sources)) is not None:
        yield below_it.context
        base = read_config(below_it, sources).base


def program_of(
    config: ImageConfig,
    context: Path,
    *,
    entry_point: Sequence[str] | None = None,
    command: Sequence[str] | None = None,
    working_directory: str | None = None,
) -> Program:
    """The image's program, with paths below its working directory mapped to `context`.

    As with Docker, an entry point of the container definition also removes the image's command.
    PATH is the host's, because an image's has directories that do not exist here. Raises
    CannotStartError if nothing is left to run.
    """
    home = config.working_directory
    parts = [*(entry_point or config.entry_point)]
    parts += command or (() if entry_point else config.command)
    if not parts:
        raise CannotStartError(
            "CannotStartContainerError: Error response from daemon: No command specified"
        )
    argv = tuple(_on_host(word, home, context) for word in parts)
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
