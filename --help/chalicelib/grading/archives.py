"""Packs files into a zip file and unpacks it; equal files make equal bytes. Works on bytes only.

The sizes that an archive states are not trusted: the unpacked bytes are counted.
"""

import io
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import PurePosixPath

from chalicelib.contract.assignments import MOST_BYTES
from chalicelib.errors import BadRequestError

MOST_FILES = 2_000
MOST_PATH_BYTES = 512
_DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest date of the zip format."""


def pack(files: Mapping[str, bytes]) -> bytes:
    """The files by path as a zip file."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(path, _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[path])
    return target.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    """The regular files of an author's zip file by path. Raises BadRequestError."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read(archive)
    except (
        zipfile.BadZipFile, zlib.error, EOFError, ValueError, OverflowError, NotImplementedError,
        RuntimeError, LookupError, OSError,
    ) as error:  # fmt: skip
        raise BadRequestError(f"archive: it cannot be unpacked: {error}") from error


def _read(archive: zipfile.ZipFile) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    bytes_left = MOST_BYTES
    for entry in archive.infolist():
        if entry.is_dir():
            continue
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise BadRequestError(f"archive: {entry.filename!r} is no plain file")
        path = check_path(entry.orig_filename)
        if path in files:
            raise BadRequestError(f"archive: {path!r} is in it twice")
        with archive.open(entry) as file:
            files[path] = file.read(bytes_left + 1)
        bytes_left -= len(files[path])
        if bytes_left < 0 or len(files) > MOST_FILES:
            raise BadRequestError(
                f"archive: at most {MOST_BYTES // 1024 // 1024} MiB and {MOST_FILES} files"
            )
    return files


def check_path(path: str) -> str:
    """A relative path without detours. Raises BadRequestError."""
    parts = PurePosixPath(path).parts
    is_plain = path == "/".join(parts) and ".." not in parts and "." not in parts
    if not parts or not is_plain or path.startswith("/") or not path.isprintable():
        raise BadRequestError(f"files: {path!r} is no relative path of a file")
    if "\\" in path or len(path.encode("utf-8", "surrogatepass")) > MOST_PATH_BYTES:
        raise BadRequestError(f"files: {path[:80]!r} is no path that is taken")
    return path
