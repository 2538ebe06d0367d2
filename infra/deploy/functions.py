"""The project for Chalice's packaging: a copy with the locked packages in `vendor/`.

Chalice resolves requirements.txt itself and checks no hashes. It therefore gets a copy with an
empty requirements.txt; pip installs requirements.lock into `vendor/`, which Chalice adds to the
package unchanged.

`python -m infra.deploy.functions FOLDER` makes the copy.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("app.py", "chalicelib", ".chalice")
MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}
"""Names of Lambda's architectures in wheels."""

OLDEST_GLIBC = 17
"""The minor version of glibc 2 in manylinux2014."""


def copy_project(folder: Path, root: Path = ROOT) -> None:
    """Create `folder`: the files that Chalice needs, and an empty requirements.txt."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ignore = shutil.ignore_patterns("__pycache__", "deployments", "deployed")
    for part in PARTS:
        source = root / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=ignore)
        else:
            shutil.copy(source, folder / part)
    (folder / "requirements.txt").write_text("# vendor/ has the packages.\n", "utf-8")
    (folder / "vendor").mkdir()


def install_command(folder: Path, architecture: str) -> list[str]:
    """The command that fills the copy's `vendor/` for Lambda, from wheels with known hashes.

    For the running Python version, because Chalice uses it as the functions' runtime, and pip
    evaluates markers for no other.
    """
    minor = sys.version_info.minor
    # https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html: Amazon Linux 2 up to
    # Python 3.11 (glibc 2.26), then Amazon Linux 2023 (2.34).
    newest = 34 if minor >= 12 else 26
    machine = MACHINES[architecture]
    platforms = [f"manylinux_2_{n}_{machine}" for n in range(newest, OLDEST_GLIBC - 1, -1)]
    platforms.append(f"manylinux2014_{machine}")
    return [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--require-hashes", "--only-binary", ":all:", "--no-compile"),
        *("--implementation", "cp", "--python-version", f"3.{minor}"),
        *(word for each in platforms for word in ("--platform", each)),
        *("--requirement", str(ROOT / "requirements.lock"), "--target", str(folder / "vendor")),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the copy in the folder of the command line."""
    parser = argparse.ArgumentParser(prog="python -m infra.deploy.functions")
    parser.add_argument("folder", type=Path)
    copy_project(parser.parse_args(arguments).folder)


if __name__ == "__main__":
    main()
