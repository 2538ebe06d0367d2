"""The lock files: exact versions and hashes of deployed packages, and of tools.

`python -m infra.supply.locks` resolves the ranges again, for all supported platforms and Python
versions, and writes each lock beside its ranges. Packages come from uv's configured index; a lock
names none.
"""

import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
OLDEST_PYTHON = "3.11"
"""The lowest supported version of Python, as in `requires-python` of pyproject.toml."""

LOCKS: Mapping[str, str] = {
    "requirements.txt": "requirements.lock",
    "session_handler/requirements.txt": "session_handler/requirements.lock",
    "usher/requirements.txt": "usher/requirements.lock",
    "local/hosts/requirements-pip.txt": "local/hosts/requirements-pip.lock",
    "requirements-dev.txt": "requirements-dev.lock",
    "tests/emulators/requirements.txt": "tests/emulators/requirements.lock",
    "tests/coursera/requirements.txt": "tests/coursera/requirements.lock",
}
"""File with ranges to its lock."""

DISTRIBUTION = "usher-containers"
"""This project itself, which requirements-dev.txt installs from its folder."""


@dataclass(frozen=True)
class Locked:
    """One package of a lock."""

    name: str
    version: str
    marker: Marker | None
    hashes: tuple[str, ...]

    def applies(self, environment: Mapping[str, str]) -> bool:
        """Whether it is installed in an environment, given by the variables of markers."""
        return self.marker is None or self.marker.evaluate(dict(environment))


def parse_lock(text: str) -> list[Locked]:
    """The packages of a lock, in order. Raises ValueError for a line without an exact version."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        stated_line = line.partition("#")[0].strip()
        if not stated_line:
            continue
        stated, *hashes = stated_line.split(" --hash=")
        requirement = Requirement(stated)
        exact = [each.version for each in requirement.specifier if each.operator == "=="]
        if len(exact) != 1 or len(requirement.specifier) != 1:
            raise ValueError(f"no exact version: {stated}")
        name = canonicalize_name(requirement.name)
        stripped = tuple(each.strip() for each in hashes)
        found.append(Locked(name, exact[0], requirement.marker, stripped))
    return found


def parse_ranges(file: Path) -> list[Requirement]:
    """The requirements of a file and of those that it includes, without editable ones."""
    found = []
    for line in file.read_text("utf-8").splitlines():
        stated_line = line.partition(" #")[0].strip()
        if stated_line.startswith("-r "):
            found += parse_ranges(file.parent / stated_line.removeprefix("-r ").strip())
        elif stated_line and not stated_line.startswith(("#", "-e ")):
            found.append(Requirement(stated_line))
    return found


def find_problems(ranges: Iterable[Requirement], locked: Iterable[Locked]) -> list[str]:
    """Violations of a lock's ranges, and packages without a hash."""
    packages = list(locked)
    problems = [f"{each.name}: no hash" for each in packages if not each.hashes]
    for wanted in ranges:
        versions = [p.version for p in packages if p.name == canonicalize_name(wanted.name)]
        if not versions:
            problems.append(f"{wanted.name}: not locked")
        problems += [
            f"{wanted.name}: {version} is outside {wanted.specifier}"
            for version in versions
            if not wanted.specifier.contains(version, prereleases=True)
        ]
    return problems


def compile_command(source: str, target: Path, *, upgrade: bool) -> list[str]:
    """The command that resolves `source` and writes its lock."""
    return [
        *(str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--universal"),
        *("--python-version", OLDEST_PYTHON, "--generate-hashes", "--no-header", "--no-annotate"),
        *("--no-emit-package", DISTRIBUTION, "--output-file", str(target)),
        *(["--upgrade"] if upgrade else []),
        source,
    ]


def main() -> None:
    """Write all locks with the newest versions; with `--keep` only change what the ranges
    require.
    """
    for source, target in LOCKS.items():
        file = ROOT / target
        command = compile_command(source, file, upgrade="--keep" not in sys.argv[1:])
        subprocess.run(command, cwd=ROOT, check=True)
        made = file.read_text("utf-8")
        file.write_text(f"# Made by `make locks` from {source}. Do not edit.\n{made}", "utf-8")
        sys.stderr.write(f"{target}: {len(parse_lock(made))} packages\n")


if __name__ == "__main__":
    main()
