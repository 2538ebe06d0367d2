"""The digests of the base images that the Dockerfiles of this project name by tag.

`python -m infra.supply.bases`, which `make locks` runs, has Docker pull each base and writes its
digest to base-images.toml. Deployments build on the digests in this file. If Docker or the registry
does not answer, the file's digests stay, with a message.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).with_name("base-images.toml")
DOCKERFILES = ("session_handler/Dockerfile", "usher/Dockerfile", "infra/router/Dockerfile")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
PULL_SECONDS = 600

_BASE = re.compile(r"^ARG BASE_IMAGE=(\S+)$", re.MULTILINE)
_HEAD = "# Made by `make locks`: the digest that each base image's tag had then. Do not edit.\n"


class NoDigestError(Exception):
    """The digest of a base cannot be determined; the message has the reason."""


def bases_of(dockerfiles: Iterable[Path]) -> list[str]:
    """The default bases of Dockerfiles, without duplicates, sorted."""
    return sorted({base for file in dockerfiles for base in _BASE.findall(file.read_text("utf-8"))})


def parse_digests(text: str) -> dict[str, str]:
    """Base to digest. Raises ValueError for what is neither."""
    digests = tomllib.loads(text)
    for base, digest in digests.items():
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            raise ValueError(f"{base}: not sha256: and 64 digits")
        if "@" in base:
            raise ValueError(f"{base}: has a digest in its name")
    return dict(digests)


def read_digests(file: Path = FILE) -> dict[str, str]:
    """The digests of a file; empty if it does not exist. Raises ValueError."""
    try:
        return parse_digests(file.read_text("utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise ValueError(f"{file.name}: {error}") from error


def pinned(base: str, digests: Mapping[str, str]) -> str:
    """`NAME:TAG@DIGEST` if the digest of a base is known; otherwise the base unchanged."""
    return f"{base}@{digests[base]}" if base in digests else base


def look_up(base: str, docker: str = "docker") -> str:
    """The digest that a base's tag has in its registry now. Raises NoDigestError."""
    _docker(docker, "pull", "--quiet", base)
    shown = _docker(docker, "image", "inspect", "--format", '{{join .RepoDigests "\\n"}}', base)
    found = [DIGEST.search(line) for line in shown.splitlines()]
    digests = {each[0] for each in found if each}
    if len(digests) != 1:
        raise NoDigestError(f"Docker knows {len(digests)} digests of it")
    return digests.pop()


def renew(bases: Iterable[str], file: Path, look: Callable[[str], str]) -> list[str]:
    """Write the digests of these bases to a file; returns a message for each.

    A base that cannot be looked up keeps its digest; bases that are not listed are removed.
    """
    before, after, report = read_digests(file), {}, []
    for base in bases:
        try:
            after[base] = look(base)
            report.append(f"{base}: {after[base]}")
        except NoDigestError as error:
            if base in before:
                after[base] = before[base]
            report.append(f"{base}: {before.get(base, 'no digest')}, not looked up: {error}")
    if after:
        lines = [f'"{base}" = "{digest}"\n' for base, digest in sorted(after.items())]
        file.write_text(_HEAD + "".join(lines), "utf-8")
    return report


def _docker(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=PULL_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoDigestError(str(error)) from error
    if done.returncode:
        raise NoDigestError((done.stderr.strip().splitlines() or ["docker failed"])[-1])
    return done.stdout


def main() -> None:
    """Renew base-images.toml."""
    bases = bases_of(ROOT / name for name in DOCKERFILES)
    for line in renew(bases, FILE, look_up):
        sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
