"""The build contexts of this project's images: equal bytes for equal content, and their hash.

`python -m infra.deploy.context session|judge` writes one to stdout, for `docker build … -`.
"""

import hashlib
import io
import shutil
import sys
import tarfile
from pathlib import Path

from usher.docker import build_context as build_context_of_project

ROOT = Path(__file__).parents[2]
PARTS = ("session_handler", "chalicelib/__init__.py", "chalicelib/contract")


def build_context(root: Path = ROOT) -> bytes:
    """A tar of the files that the Dockerfile copies; `wheels/` is empty, so pip uses its index."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        wheels = tarfile.TarInfo("wheels")
        wheels.type, wheels.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(wheels)
        for path in _files(root):
            entry = tarfile.TarInfo(path.relative_to(root).as_posix())
            content = path.read_bytes()
            entry.size, entry.mode = len(content), 0o644  # owner and time stay 0
            tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def build_judge_context(root: Path = ROOT) -> bytes:
    """A tar of the judge like any project of jobs: its job, usher, and usher's Dockerfile."""
    stream = io.BytesIO()
    with build_context_of_project(root / "usher" / "judge", None) as folder:
        shutil.copy(root / "usher" / "Dockerfile", folder / "Dockerfile")
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for path in sorted(folder.rglob("*")):
                entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
                if path.is_dir():
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(entry)
                else:
                    content = path.read_bytes()
                    entry.size, entry.mode = len(content), 0o644
                    tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


CONTEXTS = {"session": build_context, "judge": build_judge_context}
"""The contexts by the names in `EnsureImage.context`."""


def content_hash(context: bytes, base_image: str, platform: str) -> str:
    """The tag of an image with this content."""
    digest = hashlib.sha256(context)
    digest.update(f"\0{base_image}\0{platform}".encode())
    return digest.hexdigest()[:24]


def _files(root: Path) -> list[Path]:
    found: list[Path] = []
    for part in PARTS:
        path = root / part
        found += [path] if path.is_file() else path.rglob("*")
    return sorted(f for f in found if f.is_file() and "__pycache__" not in f.parts)


if __name__ == "__main__":
    sys.stdout.buffer.write(CONTEXTS[sys.argv[1]]())
