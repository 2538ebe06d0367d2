"""The bill of materials of an image in CycloneDX's JSON; equal for equal contents.

Runs inside the image as `python3 - < contents.py`, so it uses the standard library only.
"""

import importlib.metadata
import json
import platform
import re
import sys
from pathlib import Path
from typing import Any

DPKG = Path("/var/lib/dpkg/status")


PYTHON = "usher:python"
"""Property of a bill: the version of Python that its packages are installed for."""


def bill(
    python: dict[str, str], debian: dict[str, str], python_version: str = ""
) -> dict[str, Any]:
    """The document for packages of Python and of Debian, each name to version."""
    properties = [{"name": PYTHON, "value": python_version}] if python_version else []
    found = [("pypi", name, version) for name, version in python.items()]
    found += [("deb/debian", name, version) for name, version in debian.items()]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        **({"metadata": {"properties": properties}} if properties else {}),
        "components": [
            {
                "type": "library",
                "name": name,
                "version": version,
                "purl": f"pkg:{kind}/{name}@{version}",
            }
            for kind, name, version in sorted(found)
        ],
    }


def installed_python(folders: list[str]) -> dict[str, str]:
    """Distributions on these folders of sys.path."""
    found = importlib.metadata.distributions(path=folders)
    # Names in the package index's normalized form.
    return {re.sub(r"[-_.]+", "-", each.metadata["Name"]).lower(): each.version for each in found}


def installed_debian(status: str) -> dict[str, str]:
    """Packages that dpkg's status file lists as installed."""
    packages = {}
    for paragraph in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line[:40])
        if fields.get("Status", "").endswith(" installed"):
            packages[fields["Package"]] = fields["Version"]
    return packages


def main() -> None:
    """Print the bill of this file system."""
    debian = installed_debian(DPKG.read_text("utf-8")) if DPKG.exists() else {}
    python = installed_python([*sys.path, "/app"])
    sys.stdout.write(json.dumps(bill(python, debian, platform.python_version()), indent=1) + "\n")


if __name__ == "__main__":
    main()
