"""The files of a learner: names, sizes, archives. Works on bytes only.

The sizes that an archive states are not trusted: the unpacked bytes are counted.
"""

import fnmatch
import io
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence

MOST_BYTES = 1024 * 1024
MOST_FILES = 64
MOST_NAME_BYTES = 255
_MOST_TAR_BYTES = 2 * MOST_BYTES
"""Maximum size of an unpacked tar with its headers and padding."""
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
_HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
"""Control characters, marks that change the writing direction, and characters that cannot be
displayed."""


class SubmissionError(Exception):
    """The files are refused; the message is for the learner."""


def accept_files(given: Mapping[str, bytes], wanted: Sequence[str]) -> dict[str, bytes]:
    """The files to mark: those whose names match `wanted`, archives unpacked.

    Raises SubmissionError with the expected files.
    """
    if not given:
        raise SubmissionError(f"no file was handed in; wanted: {', '.join(wanted)}")
    files: dict[str, bytes] = {}
    for name, data in given.items():
        check_name(name)
        if len(data) > MOST_BYTES:
            raise SubmissionError(f"{name} has more than 1 MiB")
        inside = unpack(name, data) if _is_to_unpack(name, wanted) else {name: data}
        for inner, content in inside.items():
            if inner in files:
                raise SubmissionError(f"{inner} was handed in twice")
            files[inner] = content
    if len(files) > MOST_FILES:
        raise SubmissionError(f"more than {MOST_FILES} files")
    if sum(map(len, files.values())) > MOST_BYTES:
        raise SubmissionError("together the files have more than 1 MiB")
    _check_wanted(files, wanted)
    return files


def _check_wanted(files: Mapping[str, bytes], wanted: Sequence[str]) -> None:
    for name in files:
        if not _is_wanted(name, wanted):
            raise SubmissionError(f"{name} is not asked for; wanted: {', '.join(wanted)}")
    missing = [p for p in wanted if not any(fnmatch.fnmatchcase(name, p) for name in files)]
    if missing:
        raise SubmissionError(f"missing: {', '.join(missing)}")


def _is_wanted(name: str, wanted: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted)


def check_name(name: str) -> None:
    """Raises SubmissionError for a name that is not a plain, visible file name."""
    shown = name.encode("unicode_escape").decode()
    if not name or name in (".", "..") or "/" in name or "\\" in name:
        raise SubmissionError(f"{shown}: a name without folders is wanted")
    if any(unicodedata.category(char) in _HIDDEN_CATEGORIES for char in name):
        raise SubmissionError(f"{shown}: the name has characters that cannot be seen")
    if name.startswith("-"):
        raise SubmissionError(f"{shown}: a name does not begin with a dash")
    if len(name.encode()) > MOST_NAME_BYTES:
        raise SubmissionError(f"{shown[:60]}…: the name has more than {MOST_NAME_BYTES} bytes")


def _is_to_unpack(name: str, wanted: Sequence[str]) -> bool:
    """Whether it is an archive, unless the grader expects archives with this extension."""
    ending = next((end for end in _ARCHIVES if name.lower().endswith(end)), None)
    if ending is None:
        return False
    asked = [pattern for pattern in wanted if pattern.lower().endswith(ending)]
    return not _is_wanted(name, asked)


def unpack(name: str, data: bytes) -> dict[str, bytes]:
    """The files of an archive, with their names checked. Raises SubmissionError."""
    try:
        entries = _zip_entries(data) if name.lower().endswith(".zip") else _tar_entries(data)
        return _checked_entries(name, entries)
    except (
        zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, ValueError, OverflowError,
        NotImplementedError, RuntimeError, LookupError, OSError,
    ) as error:  # fmt: skip
        raise SubmissionError(f"{name} cannot be unpacked: {error}") from error


def _checked_entries(name: str, entries: Iterator[tuple[str, bytes]]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    bytes_left = MOST_BYTES
    for inner, content in entries:
        check_name(inner)
        if inner in files:
            raise SubmissionError(f"{name}: {inner} is in it twice")
        bytes_left -= len(content)
        if bytes_left < 0:
            raise SubmissionError(f"{name}: more than 1 MiB when unpacked")
        files[inner] = content
        if len(files) > MOST_FILES:
            raise SubmissionError(f"{name}: more than {MOST_FILES} files")
    return files


def _zip_entries(data: bytes) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if entry.is_dir():
                raise SubmissionError(f"{entry.filename}: folders are not taken")
            if kind not in (0, stat.S_IFREG):
                raise SubmissionError(f"{entry.filename}: links and devices are not taken")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise SubmissionError(f"{entry.filename}: this compression is not taken")
            with archive.open(entry) as file:
                content = file.read(MOST_BYTES + 1)
            # The library cuts names at a NUL; the original name is checked.
            yield entry.orig_filename, content


def _tar_entries(data: bytes) -> Iterator[tuple[str, bytes]]:
    if data[:2] == b"\x1f\x8b":
        unzip = zlib.decompressobj(wbits=31)
        data = unzip.decompress(data, _MOST_TAR_BYTES)
        if unzip.unconsumed_tail:
            raise SubmissionError("the archive has more than 1 MiB when unpacked")
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for entry in archive:
            if not entry.isreg() or entry.issparse():
                raise SubmissionError(f"{entry.name}: only plain files are taken")
            content = archive.extractfile(entry)
            yield entry.name, content.read(MOST_BYTES + 1) if content else b""
