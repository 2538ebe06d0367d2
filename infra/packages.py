"""`make package`: the distributions in build/packages: wheel, sdist and npm tarball.

Nothing is published. The npm package gets the client library that session containers serve.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "build" / "packages"
PYTHON_FOLDERS = ("usher", "chalicelib", "session_handler")
PYTHON_FILES = ("pyproject.toml", "setup.py", "README.md")
SHARED_CLIENT = ROOT / "session_handler" / "client.js"
JS = ROOT / "clients" / "js"
_BUILD = "import sys; from setuptools import build_meta as b; getattr(b, sys.argv[1])(sys.argv[2])"


def build_python(target: Path) -> list[Path]:
    """The sdist and the wheel, from a copy, because setuptools leaves files in the directory that
    it builds.

    The wheel is built from the sdist, which shows that the sdist is complete.
    """
    ignore = shutil.ignore_patterns("__pycache__")
    with tempfile.TemporaryDirectory() as folder:
        source, built = Path(folder, "source"), Path(folder, "built")
        built.mkdir()
        for name in PYTHON_FOLDERS:
            shutil.copytree(ROOT / name, source / name, ignore=ignore)
        for name in PYTHON_FILES:
            shutil.copy(ROOT / name, source / name)
        _run([sys.executable, "-c", _BUILD, "build_sdist", str(built)], source)
        (sdist,) = built.glob("*.tar.gz")
        shutil.unpack_archive(sdist, folder, filter="data")
        _run(
            [sys.executable, "-c", _BUILD, "build_wheel", str(built)], Path(folder, sdist.name[:-7])
        )
        return [_put(path, target) for path in sorted(built.iterdir())]


def lay_out_js(folder: Path) -> None:
    """The files of the npm package, the shared client among them."""
    shutil.copytree(JS, folder, dirs_exist_ok=True)
    shutil.copy(SHARED_CLIENT, folder / "client.js")


def build_js(target: Path, npm: str) -> Path:
    """The tarball that `npm install FILE` installs."""
    with tempfile.TemporaryDirectory() as folder:
        source, built = Path(folder, "source"), Path(folder, "built")
        built.mkdir()
        lay_out_js(source)
        _run([npm, "pack", "--silent", "--pack-destination", str(built)], source)
        (tarball,) = built.glob("*.tgz")
        return _put(tarball, target)


def _put(path: Path, target: Path) -> Path:
    target.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(path, target))


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.packages", description=__doc__)
    parser.add_argument("--target", type=Path, default=TARGET, metavar="DIR")
    target = parser.parse_args().target
    for path in build_python(target):
        print(path)
    npm = shutil.which("npm")
    if npm is None:
        print("the npm package was not built: no npm", file=sys.stderr)
        return 1
    print(build_js(target, npm))
    return 0


if __name__ == "__main__":
    sys.exit(main())
