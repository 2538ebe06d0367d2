"""Bills of materials from the locks, and comparisons with installed packages.

`python -m infra.supply.bills` writes one for the functions, the session image and the base of job
images to build/sbom/, for the running Python version.
"""

import json
import platform
import sys
from pathlib import Path
from typing import Any

from packaging.markers import default_environment

from infra.deploy.contents import PYTHON, bill, installed_python
from infra.supply.locks import ROOT, parse_lock

DEPLOYED = {
    "functions": "requirements.lock",
    "session": "session_handler/requirements.lock",
    "jobs": "usher/requirements.lock",
}
"""Deployed parts, with the locks that they are installed from."""


def packages_of(lock: str, python_version: str) -> dict[str, str]:
    """Name to version of the packages that a lock installs on Linux for a version of Python."""
    environment = {name: str(value) for name, value in default_environment().items()}
    environment |= {
        "python_full_version": python_version,
        "python_version": ".".join(python_version.split(".")[:2]),
    }
    locked = parse_lock((ROOT / lock).read_text("utf-8"))
    return {each.name: each.version for each in locked if each.applies(environment)}


def compare(lock: str, file: Path) -> list[str]:
    """The differences between the bill in `file` and the lock. A base may have other packages."""
    document = json.loads(file.read_text("utf-8"))
    properties = {each["name"]: each["value"] for each in document["metadata"]["properties"]}
    there = python_packages(document)
    return [
        f"{name} is {there.get(name, 'missing')}, not {version}"
        for name, version in packages_of(lock, properties[PYTHON]).items()
        if there.get(name) != version
    ]


def python_packages(document: dict[str, Any]) -> dict[str, str]:
    """Name to version of the Python packages of a bill."""
    components = document["components"]
    python = (each for each in components if each["purl"].startswith("pkg:pypi/"))
    return {each["name"]: each["version"] for each in python}


def write_bill_of_folder(folder: Path, file: Path) -> None:
    """Write the bill of the Python packages that are installed in a folder."""
    version = platform.python_version()
    _write(file, bill(installed_python([str(folder)]), {}, version))


def _write(file: Path, document: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def main() -> None:
    """Write the bills of all that is deployed."""
    version = platform.python_version()
    for name, lock in DEPLOYED.items():
        file = ROOT / "build" / "sbom" / f"{name}.cdx.json"
        _write(file, bill(packages_of(lock, version), {}, version))
        sys.stderr.write(f"{file.relative_to(ROOT)}: from {lock}\n")


if __name__ == "__main__":
    main()
