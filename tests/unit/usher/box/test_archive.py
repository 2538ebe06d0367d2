"""What comes out of a box as a tar, whoever wrote it."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.box.archive import pack, unpack
from usher.box.model import File

part = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="/"),
    min_size=1,
    max_size=12,
).filter(lambda text: text not in (".", ".."))
names = st.lists(part, min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(names, st.binary(max_size=300), max_size=5))
def test_what_goes_in_comes_out(contents):
    tops = [name for name in contents if any(other.startswith(name + "/") for other in contents)]
    files = {name: File(data) for name, data in contents.items() if name not in tops}
    assert unpack(pack(files, 1000)) == (files, [])


@given(st.binary(max_size=4000))
def test_garbage_never_raises(data):
    files, _ = unpack(data)
    assert all(".." not in name.split("/") for name in files)


@given(st.binary(max_size=1500), st.integers(0, 3000), st.integers(0, 255))
def test_a_damaged_archive_never_raises(content, place, byte):
    data = bytearray(pack({"a/b": File(content), "c": File(b"c")}, 7))
    data[place % len(data)] = byte
    unpack(bytes(data[: len(data) - place % 700]))


def tar_of(kind: bytes, name: str, target: str = "", size: int = 0) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.size = kind, target, size
        tar.addfile(entry, io.BytesIO(b"x" * size))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        tar_of(tarfile.SYMTYPE, "link", "/etc/passwd"),
        tar_of(tarfile.LNKTYPE, "link", "/etc/passwd"),
        tar_of(tarfile.CHRTYPE, "device"),
        tar_of(tarfile.FIFOTYPE, "pipe"),
        tar_of(tarfile.REGTYPE, "../up", size=1),
        tar_of(tarfile.REGTYPE, "a/../../up", size=1),
        tar_of(tarfile.REGTYPE, "/absolute", size=1),
    ],
)
def test_only_regular_files_with_plain_names_are_taken(data):
    files, left_out = unpack(data)
    assert files == {}
    assert len(left_out) == 1
