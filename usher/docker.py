"""The image of a project, by the docker command: find, build, run, push."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from usher.errors import UsherError
from usher.vendoring import copy_contract, copy_package

ASK_SECONDS = 10.0
LEFT_OUT = (".git", ".venv", "__pycache__", "node_modules", "wheels")


class DockerError(UsherError):
    """The docker command failed; the message has its output and a remedy."""


@dataclass(frozen=True)
class BuildOptions:
    """Options of a build."""

    base: str | None = None
    """Replaces the Dockerfile's base image."""
    wheels: Path | None = None
    """A directory to install packages from, instead of the package index."""
    argument: str = "BASE_IMAGE"
    """The Dockerfile's build argument for its base image."""


def docker_answers() -> bool:
    """Whether there is a docker command with a running engine."""
    return _ask("version", "--format", "{{.Server.Version}}") is not None


def local_tag(project: Path) -> str:
    """The name of a project's image on this machine."""
    slug = re.sub(r"[^a-z0-9]+", "-", project.name.lower()).strip("-") or "project"
    return f"usher-run/{slug}-{sha256(str(project.resolve()).encode()).hexdigest()[:8]}"


def has_image(tag: str) -> bool:
    return _ask("image", "inspect", "--format", "{{.Id}}", tag) is not None


def _ask(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["docker", *arguments], capture_output=True, text=True, timeout=ASK_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def build_command(tag: str, context: str, options: BuildOptions) -> list[str]:
    arguments = ["--build-arg", f"{options.argument}={options.base}"] if options.base else []
    return ["docker", "build", "--tag", tag, *arguments, context]


def build(project: Path, tag: str, options: BuildOptions) -> None:
    """Build the project's Dockerfile; the output is shown only if it fails. Raises DockerError."""
    if not (project / "Dockerfile").is_file():
        raise DockerError(f"{project} has no Dockerfile: `usher new` writes one into a new project")
    with build_context(project, options.wheels) as context:
        _do(build_command(tag, str(context), options), "the image cannot be built")


def push(tag: str) -> str:
    """Push an image, and return its name with the digest. Raises DockerError."""
    _do(["docker", "push", tag], f"{tag} cannot be pushed (logged in to its registry?)")
    repository = tag.rpartition(":")[0] if ":" in tag.rpartition("/")[2] else tag
    digests = _ask("image", "inspect", "--format", '{{join .RepoDigests "\\n"}}', tag) or ""
    for digest in digests.splitlines():
        if digest.partition("@")[0] == repository:
            return digest
    raise DockerError(f"{tag} was pushed, and docker does not know its digest")


def _do(command: list[str], trouble: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise DockerError(f"{trouble}: no docker command: {error}") from error
    if done.returncode:
        last = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-12:]
        raise DockerError("\n  ".join([f"{trouble}: `{' '.join(command)}` said:", *last]))


@contextmanager
def build_context(project: Path, wheels: Path | None) -> Iterator[Path]:
    """The directory that the Dockerfile expects: the project, this usher, and wheels/."""
    with tempfile.TemporaryDirectory(prefix="usher-build-") as folder:
        context = Path(folder) / "context"
        ignore = shutil.ignore_patterns(*LEFT_OUT)
        shutil.copytree(project, context, ignore=ignore, symlinks=True)
        copy_package(context / "usher")
        if not (context / "chalicelib").exists():
            copy_contract(context / "chalicelib")
        if wheels is None:
            (context / "wheels").mkdir()
        else:
            shutil.copytree(wheels, context / "wheels")
        (context / "requirements.txt").touch()
        yield context
