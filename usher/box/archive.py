"""Files as a tar, into a box and out of it. Works on bytes alone.

What comes out of a box was written by strangers: only regular files with plain names are taken.
"""

import io
import tarfile
from collections.abc import Mapping

from usher.box.model import File

MOST_FILES = 4096


def pack(files: Mapping[str, File], owner: int) -> bytes:
    """A tar of files and the folders that they are in."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        made: set[str] = set()
        for name, file in sorted(files.items()):
            parts = name.split("/")[:-1]
            for depth in range(1, len(parts) + 1):
                folder = "/".join(parts[:depth])
                if folder not in made:
                    made.add(folder)
                    tar.addfile(_entry(folder, 0o777, owner, tarfile.DIRTYPE))
            entry = _entry(name, file.mode, owner, tarfile.REGTYPE)
            entry.size = len(file.data)
            tar.addfile(entry, io.BytesIO(file.data))
    return buffer.getvalue()


def _entry(name: str, mode: int, owner: int, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.uid, entry.gid, entry.type = mode, owner, owner, kind
    return entry


def unpack(data: bytes) -> tuple[dict[str, File], list[str]]:
    """The files of a tar from a box, and the names of what was left out."""
    files: dict[str, File] = {}
    left_out: list[str] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for entry in tar:
                name = entry.name.removeprefix("./")
                is_plain = entry.isreg() and not entry.issparse() and _is_plain_name(name)
                content = tar.extractfile(entry) if is_plain else None
                if content is not None and len(files) < MOST_FILES:
                    files[name] = File(content.read(), entry.mode & 0o755)
                elif not entry.isdir():
                    left_out.append(name.encode("utf-8", "replace").decode())
    except (tarfile.TarError, ValueError, OverflowError, EOFError):
        left_out.append("(the archive is cut off or broken)")
    return files, left_out


def _is_plain_name(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return bool(name) and all(part not in ("", ".", "..") for part in name.split("/"))
