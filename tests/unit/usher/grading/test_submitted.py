"""Files of learners: names, bounds, and archives made to do harm."""

import contextlib
import gzip
import io
import stat
import tarfile
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.submitted import MOST_BYTES, SubmissionError, accept_files, unpack

ANY = ("*",)


def zip_of(*entries, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data, mode in entries:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            entry.compress_type = compression
            archive.writestr(entry, data)
    return buffer.getvalue()


def tar_of(name, kind=tarfile.REGTYPE, data=b"x", target="", size=None):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    entry.size = len(data) if size is None else size
    padding = bytes(-len(data) % 512)
    return entry.tobuf() + data + padding + bytes(1024)


def refused(given, wanted=ANY):
    with pytest.raises(SubmissionError) as told:
        accept_files(given, wanted)
    return str(told.value)


def test_what_is_asked_for():
    assert accept_files({"main.py": b"x"}, ["main.py"]) == {"main.py": b"x"}
    assert "not asked for; wanted: main.py" in refused({"other.py": b""}, ["main.py"])
    assert "missing: b.py" in refused({"a.py": b""}, ["a.py", "b.py"])
    assert accept_files({"A.java": b"", "B.java": b""}, ["*.java"])


def test_an_archive_is_unpacked_unless_it_is_asked_for_itself():
    data = zip_of(("main.py", b"x", 0))
    assert accept_files({"all.zip": data}, ["main.py"]) == {"main.py": b"x"}
    assert accept_files({"all.zip": data}, ["all.zip"]) == {"all.zip": data}
    packed = gzip.compress(tar_of("main.py"))
    assert accept_files({"all.tgz": packed}, ["main.py"]) == {"main.py": b"x"}


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "/etc/passwd", "..\\up", "new\nline", "nul\0", "turn\u202egnp.exe",
     "-option", "x" * 256, "é" * 128, "\ud800"],
)  # fmt: skip
def test_names_that_are_refused(name):
    refused({name: b""})
    if name and "\ud800" not in name and name != ".":
        # The library writes no NUL, so it is put in afterwards.
        data = zip_of((name.replace("\0", "\x7f"), b"x", 0)).replace(b"\x7f", b"\0")
        refused({"all.zip": data})


@pytest.mark.parametrize(
    "data",
    [
        tar_of("link", tarfile.SYMTYPE, b"", "/etc/passwd"),
        tar_of("link", tarfile.LNKTYPE, b"", "main.py"),
        tar_of("device", tarfile.CHRTYPE, b""),
        tar_of("pipe", tarfile.FIFOTYPE, b""),
        tar_of("folder", tarfile.DIRTYPE, b""),
        tar_of("../up"),
        tar_of("/absolute"),
        tar_of("lies", data=b"x", size=10**9),
        tar_of("lies", data=b"x", size=0o77777777777),
    ],
)
def test_tars_that_are_refused(data):
    refused({"all.tar": data})
    refused({"all.tar.gz": gzip.compress(data)})


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip(mode):
    assert "links and devices" in refused({"all.zip": zip_of(("link", b"/etc/passwd", mode))})


def test_a_zip_that_lies_about_its_sizes_is_counted():
    data = zip_of(("big", bytes(5 * MOST_BYTES), 0))
    assert len(data) < 10_000
    assert "more than 1 MiB" in refused({"all.zip": data})
    small = (1).to_bytes(4, "little")
    real = (5 * MOST_BYTES).to_bytes(4, "little")
    refused({"all.zip": data.replace(real, small)})


def test_a_bomb_in_gzip_is_never_unpacked_whole():
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    bomb = b"".join(squeeze.compress(zeros) for _ in range(200)) + squeeze.flush()
    assert len(bomb) < MOST_BYTES
    assert "more than 1 MiB" in refused({"all.tar.gz": bomb})


def test_the_same_name_twice():
    data = zip_of(("a", b"1", 0), ("b", b"2", 0)).replace(b"b", b"a")
    refused({"all.zip": data})
    assert "twice" in refused({"a": b"", "all.zip": zip_of(("a", b"", 0))})


def test_bounds():
    assert "more than 1 MiB" in refused({"a": bytes(MOST_BYTES + 1)})
    assert "together" in refused({"a": bytes(MOST_BYTES), "b": b"x"})
    assert "more than 64" in refused({f"f{n}": b"" for n in range(65)})
    assert "more than 64" in refused({"all.zip": zip_of(*((f"f{n}", b"", 0) for n in range(65)))})


def test_as_much_as_may_be_is_taken():
    assert accept_files({"a": bytes(MOST_BYTES)}, ["a"]) == {"a": bytes(MOST_BYTES)}
    files = {f"{n:02}{'x' * 253}": bytes(MOST_BYTES // 64) for n in range(64)}
    assert accept_files(files, ["*"]) == files
    packed = zip_of(*((f"f{n}", bytes(MOST_BYTES // 64), 0) for n in range(64)))
    assert len(accept_files({"all.zip": packed}, ["*"])) == 64
    assert refused({"x" * 256: b""})


@given(st.binary(max_size=2000), st.sampled_from(["a.zip", "a.tar", "a.tgz"]))
def test_garbage_is_refused_with_words(data, name):
    with contextlib.suppress(SubmissionError):
        assert unpack(name, data) is not None


@given(st.integers(0, 10**6), st.integers(0, 255), st.booleans(), st.integers(0, 200))
def test_damage_is_refused_or_harmless(place, byte, is_zip, cut):
    name = "a.zip" if is_zip else "a.tar"
    data = bytearray(zip_of(("one", b"1" * 50, 0), ("two", b"2", 0)) if is_zip else tar_of("one"))
    data[place % len(data)] = byte
    try:
        files = unpack(name, bytes(data[: len(data) - cut]))
    except SubmissionError:
        return
    assert sum(map(len, files.values())) <= MOST_BYTES
