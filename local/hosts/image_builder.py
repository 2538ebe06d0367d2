"""Builds images from their sources with the local Docker Engine, only if they changed.

An image is tagged with a hash of its inputs. The build context has only the files that the source
needs. Uses the Engine's classic builder, which needs no plug-in; features of BuildKit (`RUN
--mount`, `COPY --chmod`, heredocs) are not supported.
"""

import hashlib
import logging
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import docker
from docker.utils.build import exclude_paths

from local.hosts.base_image import (
    NoBaseImageError,
    Progress,
    ensure_base,
    has_image,
    pull,
)
from local.hosts.cache import locked
from local.hosts.dockerfile import DockerfileError, bases_of, read_text, replace_bases
from local.hosts.images import (
    ImageSource,
    cannot_pull,
    find_source,
    full_name,
    known_base,
    read_config,
)

log = logging.getLogger(__name__)

BASE_ARGUMENT = "BASE_IMAGE"
"""Name of the build argument for a base that was created here."""

KEPT_VERSIONS = 3
"""Number of versions of an image that are kept on this machine."""

LABEL = "usher.local.image"
"""Label of images built here: their name without the tag."""
FOLDER_LABEL = "usher.local.folder"
"""Label of the same: the folder that is their build context."""

PIP_SECONDS = 90.0
"""Limit for one of the calls that fetch the wheels of an image."""

PIP_LOCK = Path(__file__).with_name("requirements-pip.lock")

_WHEEL_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


class ImageBuilder:
    """The images of one run. Thread-safe.

    An image is checked once, unless its source declares that it changes.
    """

    def __init__(
        self,
        client: docker.APIClient,
        sources: Sequence[ImageSource],
        on_progress: Progress,
        base_image: str | None = None,
    ) -> None:
        """`base_image` overrules the default of every Dockerfile's BASE_IMAGE argument."""
        self._client = client
        self._sources = sources
        self._on_progress = on_progress
        self._base_image = base_image
        self._ready: dict[str, tuple[Signature, str]] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def image(self, name: str) -> str:
        """The name of the image in Docker: built or pulled if necessary.

        Raises CannotPullImageError, and exceptions that `through_restarts` handles.
        """
        wanted = full_name(name)
        source = find_source(wanted, self._sources)
        signature = signature_of(source) if source and source.changes else ()
        if (ready := self._ready.get(wanted)) and ready[0] == signature:
            return ready[1]
        with self._locks[wanted]:
            ready = self._ready.get(wanted)
            if ready is None or ready[0] != signature:
                ready = signature, self._make(wanted, source)
                self._ready[wanted] = ready
            return ready[1]

    def forget(self, name: str) -> None:
        """Check the image again next time, because Docker no longer has it."""
        self._ready.pop(full_name(name), None)

    def _make(self, name: str, source: ImageSource | None) -> str:
        try:
            return self._build(source) if source else self._fetch(name)
        except docker.errors.DockerException as error:
            # The Engine runs and refuses: an invalid name, no space, a race with a prune.
            reason = getattr(error, "explanation", None) or error
            raise cannot_pull(name, str(reason)) from error

    def _fetch(self, name: str) -> str:
        if not has_image(self._client, name):
            self._on_progress(f"pulling {name}")
            if trouble := pull(self._client, name):
                raise cannot_pull(name, trouble)
        return name

    def _build(self, source: ImageSource) -> str:
        try:
            config = read_config(source, self._sources)
            base = self._base(config.build_arguments)
            built_on = self._known_bases(source)
        except (DockerfileError, NoBaseImageError) as error:
            raise cannot_pull(source.name, str(error)) from error
        with tempfile.TemporaryDirectory(prefix="usher-dockerfile-") as folder:
            files = context_files(source)
            if built_on:
                dockerfile = Path(folder) / "Dockerfile"
                text = replace_bases(read_text(source.dockerfile), built_on)
                dockerfile.write_text(text, encoding="utf-8")
                files[dockerfile_name(source)] = dockerfile
            below = base or next(iter(built_on.values()), None)
            base_config = self._client.inspect_image(below) if below else {}
            tag = f"{_repository(source.name)}:{content_hash(files, str(base_config.get('Id')))}"
            with locked(tag.replace("/", "-").replace(":", "-")):
                if not has_image(self._client, tag):
                    self._on_progress(f"building {tag}" + (f" from {below}" if below else ""))
                    self._build_as(tag, source, files, base, base_config)
                    self._remove_old(_repository(source.name), but=tag)
                    remove_images_of_gone_folders(self._client)
        return tag

    def _known_bases(self, source: ImageSource) -> dict[str, str]:
        """Images that the Dockerfile builds on and that have a source here: what each is called
        once it is built. Raises CannotPullImageError.
        """
        bases = bases_of(read_text(source.dockerfile))
        return {b: self._present(b) for b in sorted(bases) if known_base(b, self._sources)}

    def _present(self, name: str) -> str:
        """The name of the image, see `image`; built again if another run removed it as an old
        version.
        """
        if not has_image(self._client, self.image(name)):
            self.forget(name)
        return self.image(name)

    def _base(self, build_arguments: Mapping[str, str]) -> str | None:
        if BASE_ARGUMENT not in build_arguments:
            return None
        wanted = self._base_image or build_arguments[BASE_ARGUMENT]
        return ensure_base(self._client, wanted, self._on_progress)

    def _build_as(
        self,
        tag: str,
        source: ImageSource,
        files: Mapping[str, Path],
        base: str | None,
        base_config: Mapping[str, Any],
    ) -> None:
        with tempfile.TemporaryDirectory(prefix="usher-build-") as folder:
            wheels = Path(folder) / "wheels"
            wheels.mkdir()
            if source.requirements:
                trouble = download_wheels(source.requirements, base_config, wheels)
                if trouble:
                    self._on_progress(f"no wheels for {tag} from this machine: {trouble}")
            with tempfile.TemporaryFile() as context:
                write_context(context, files, None if source.requirements is None else wheels)
                context.seek(0)
                lines = self._client.build(
                    fileobj=context,
                    custom_context=True,
                    dockerfile=dockerfile_name(source),
                    tag=tag,
                    buildargs={BASE_ARGUMENT: base} if base else {},
                    labels={LABEL: _repository(source.name), FOLDER_LABEL: str(source.context)},
                    rm=True,
                    forcerm=True,
                    decode=True,
                )
                _follow(source.name, lines)

    def _remove_old(self, repository: str, but: str) -> None:
        """Keep `but` and the newest others."""
        images = self._client.images(filters={"label": [f"{LABEL}={repository}"]})
        others = [image for image in images if but not in (image["RepoTags"] or ())]
        newest_first = sorted(others, key=lambda image: int(image["Created"]), reverse=True)
        for image in newest_first[KEPT_VERSIONS - 1 :]:
            _remove(self._client, image)


def remove_images_of_gone_folders(client: docker.APIClient) -> None:
    """Remove images that were built from directories that no longer exist: no later run can use
    them.
    """
    for image in client.images(filters={"label": [FOLDER_LABEL]}):
        if not os.path.lexists(image["Labels"][FOLDER_LABEL]):
            _remove(client, image)


def _remove(client: docker.APIClient, image: Mapping[str, Any]) -> None:
    for tag in image["RepoTags"] or ():
        try:
            client.remove_image(tag)
        except docker.errors.APIError as error:
            log.info("%s stays, it is in use: %s", tag, error.explanation)


def _follow(name: str, lines: Iterable[Mapping[str, Any]]) -> None:
    """Read the build's output to its end. Raises CannotPullImageError with the last of it."""
    output: list[str] = []
    try:
        for line in lines:
            output = [*output[-9:], *str(line.get("stream", "")).splitlines()]
            if "error" in line:
                detail = " | ".join(text for text in output if text.strip())
                raise cannot_pull(name, f"cannot be built: {line['error']} ({detail})")
    except docker.errors.APIError as error:
        raise cannot_pull(name, f"cannot be built: {error.explanation}") from error


def _repository(name: str) -> str:
    """The image name without its tag."""
    return full_name(name).rpartition(":")[0]


def dockerfile_name(source: ImageSource) -> str:
    """The path of the Dockerfile in the build context, whether it comes from there or not."""
    if source.dockerfile.is_relative_to(source.context):
        return source.dockerfile.relative_to(source.context).as_posix()
    return "Dockerfile"


def context_files(source: ImageSource) -> dict[str, Path]:
    """The build context: path in it to file on disk, in a fixed order."""
    root = source.context
    if source.include:
        listed = (path for name in source.include for path in _below(root / name))
        names = [path.relative_to(root).as_posix() for path in listed]
    else:
        names = [name for name in exclude_paths(str(root), _ignored(root)) if name]
    files = {name: root / name for name in names if not _is_folder(root / name)}
    files[dockerfile_name(source)] = source.dockerfile
    for name, place in source.beside.items():
        if not (root / name).exists():
            files |= {_beside(name, place, path): path for path in _below(place)}
    return dict(sorted(files.items()))


def _beside(name: str, place: Path, path: Path) -> str:
    return f"{name}/{path.relative_to(place).as_posix()}" if path != place else name


def _below(path: Path) -> Iterable[Path]:
    if not path.is_dir():
        return [path]
    below = (found for found in path.rglob("*") if "__pycache__" not in found.parts)
    return (found for found in below if not _is_folder(found))


Signature = tuple[tuple[str, int, int, int], ...]


def signature_of(source: ImageSource) -> Signature:
    """A fast fingerprint of the context: the files' times and sizes.

    Raises CannotPullImageError if the context cannot be read.
    """
    try:
        found = [(name, path.lstat()) for name, path in context_files(source).items()]
    except OSError as error:
        raise cannot_pull(source.name, f"cannot be built: {error}") from error
    return tuple((name, stat.st_mtime_ns, stat.st_size, stat.st_mode) for name, stat in found)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _ignored(root: Path) -> list[str]:
    ignore = root / ".dockerignore"
    if not ignore.exists():
        return []
    lines = (line.strip() for line in ignore.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def content_hash(files: Mapping[str, Path], base: str) -> str:
    """Changes with the base, and with any file's path, content, or permission to be executed."""
    digest = hashlib.sha256(base.encode())
    for name, path in files.items():
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        mode = "x" if _is_executable(path) else "-"
        digest.update(f"\0{name}\0{mode}\0{hashlib.sha256(content).hexdigest()}".encode())
    return digest.hexdigest()[:12]


def _is_executable(path: Path) -> bool:
    return bool(path.lstat().st_mode & 0o100)


def write_context(file: IO[bytes], files: Mapping[str, Path], wheels: Path | None) -> None:
    """Write the context as a tar in which nothing depends on this machine's clock, users, umask."""
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, path in files.items():
            tar.add(path, arcname=name, recursive=False, filter=_anonymous)
        if wheels:
            tar.add(wheels, arcname="wheels", filter=_anonymous)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    if not entry.issym():
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry


def download_wheels(
    requirements: Sequence[Path], base: Mapping[str, Any], folder: Path
) -> str | None:
    """Download the wheels for `base` (as in `docker image inspect`), and pip's own.

    Returns None, or the reason of the failure; then `folder` is empty.
    """
    try:
        for arguments in pip_arguments(requirements, base, folder):
            subprocess.run(
                [sys.executable, *arguments],
                check=True,
                capture_output=True,
                text=True,
                timeout=PIP_SECONDS,
            )
    except subprocess.TimeoutExpired:
        trouble = f"pip took longer than {PIP_SECONDS:.0f} s"
    except subprocess.CalledProcessError as error:
        trouble = (error.stderr.strip().splitlines() or [f"pip ended with {error.returncode}"])[-1]
    else:
        return None
    for wheel in folder.iterdir():
        wheel.unlink()
    return trouble


def pip_arguments(
    requirements: Sequence[Path], base: Mapping[str, Any], folder: Path
) -> list[list[str]]:
    """Calls of `pip download` for the Python version and the machine of the base.

    The first fetches what locks name and pip itself, and checks the hashes; the second, if there
    are requirements without a lock, fetches those.
    """
    environment = (base.get("Config") or {}).get("Env") or []
    variables = dict(variable.partition("=")[::2] for variable in environment)
    version = variables.get("PYTHON_VERSION", platform.python_version())
    machine = _WHEEL_MACHINES.get(str(base.get("Architecture")), platform.machine())
    # Oldest C library first: Debian 12, the system of bases created here, has 2.36.
    tags = [f"manylinux2014_{machine}", f"manylinux_2_28_{machine}", f"manylinux_2_34_{machine}"]
    common = [
        *("-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--retries", "1", "--timeout", "10", "--only-binary", ":all:"),
        *("--implementation", "cp", "--python-version", ".".join(version.split(".")[:2])),
        *(word for tag in tags for word in ("--platform", tag)),
        *("--dest", str(folder)),
    ]
    locks = [PIP_LOCK, *(file for file in requirements if file.suffix == ".lock")]
    others = [file for file in requirements if file.suffix != ".lock"]
    calls = [[*common, "--require-hashes", *_named(locks)]]
    return [*calls, [*common, *_named(others)]] if others else calls


def _named(files: Iterable[Path]) -> list[str]:
    return [word for file in files for word in ("--requirement", str(file))]
