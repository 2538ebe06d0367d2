"""A container's process, and the command lines of its sandbox."""

from pathlib import Path

import pytest

from local.hosts.base import CannotStartError
from local.hosts.images import ImageSource
from local.hosts.isolation import Kind, Sandbox, depth, hidden_paths, wrap
from local.hosts.programs import prepare
from tests.integration.process_images import make_image, spec_of


@pytest.fixture
def image(tmp_path: Path) -> ImageSource:
    return make_image(tmp_path / "image")


def prepared(image: ImageSource, *command: str, **changes):
    return prepare(
        spec_of(*command, **changes),
        [image],
        packages=None,
        path="/usr/bin:/bin",
        marks={"MARK": "1"},
        hidden=(),
    )


def argument_pairs(argv: list[str], name: str) -> list[tuple[str, str]]:
    return [(argv[i + 1], argv[i + 2]) for i, word in enumerate(argv) if word == name]


def test_marks_and_ports_have_the_last_word_on_the_environment(image: ImageSource) -> None:
    environment = prepared(image, environment={"MARK": "forged", "HOME": "/home"}).environment
    assert (environment["MARK"], environment["HOME"]) == ("1", "/home")
    assert "SESSION_PORT" not in environment


@pytest.mark.parametrize(
    ("user", "inside"),
    [(None, 1000), ("root", 1000), ("0", 1000), ("app", 1000), ("77", 77), ("77:88", 77)],
)
def test_nobody_is_root_inside(image: ImageSource, user: str | None, inside: int) -> None:
    assert prepared(image, user=user).sandbox.user == inside


def test_a_relative_program_is_found_in_the_working_directory(image: ImageSource) -> None:
    tool = image.context / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    assert prepared(image, entry_point=["./tool"]).argv == (str(tool),)


def tool(image: ImageSource, content: bytes, mode: int = 0o755) -> str:
    file = image.context / "tool"
    file.write_bytes(content)
    file.chmod(mode)
    return "./tool"


ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"#!/no/such/interpreter -x\n", "no such file or directory: .*/no/such/interpreter"),
        (b"#!\n", "no such file or directory"),
        (b"#! python3\n", "no such file or directory"),
        (b"echo a script without its first line\n", "exec format error"),
        (b"", "exec format error"),
        (ELF[:18], "exec format error"),
        (ELF + (8).to_bytes(2, "little") + bytes(44), r"another machine \(8\)"),
        (b"MZ\x90\x00", "exec format error"),
    ],
)
def test_what_linux_would_not_run_is_refused(
    image: ImageSource, content: bytes, words: str
) -> None:
    with pytest.raises(CannotStartError, match=f"^CannotStartContainerError: .*{words}"):
        prepared(image, entry_point=[tool(image, content)])


def test_what_linux_would_run_is_not_refused(image: ImageSource) -> None:
    assert prepared(image, entry_point=[tool(image, b"#!/bin/sh\n")])
    assert prepared(image, entry_point=[tool(image, b"#! /usr/bin/env python3\n")])
    assert prepared(image, entry_point=["/bin/sh"])
    with pytest.raises(CannotStartError, match="permission denied"):
        prepared(image, entry_point=[tool(image, b"#!/bin/sh\n", 0o644)])


def test_a_tmpfs_needs_a_folder_to_cover(image: ImageSource) -> None:
    with pytest.raises(CannotStartError, match="/no/such/folder"):
        prepared(image, tmpfs={"/no/such/folder": 1})


def test_bubblewrap_shows_what_is_needed_even_below_what_is_covered() -> None:
    sandbox = Sandbox(
        working_directory=Path("/tmp/checkout"),
        visible=(Path("/tmp/checkout"), Path("/usr"), Path("/home/me/.config/venv")),
        hidden=(Path("/run"), Path("/home/me/.config")),
    )
    argv = wrap(Kind.BUBBLEWRAP, ["program", "--ro-bind"], sandbox)
    assert argv[-3:] == ["--", "program", "--ro-bind"]
    binds = argument_pairs(argv[:-3], "--ro-bind")
    assert ("/tmp/checkout", "/tmp/checkout") in binds
    assert ("/usr", "/usr") not in binds, "seen anyway"
    assert argv.index("/tmp/checkout") > argv.index("/tmp")


def test_a_key_file_is_covered_by_nothing(tmp_path: Path) -> None:
    (tmp_path / ".netrc").touch()
    (tmp_path / ".ssh").mkdir()
    hidden = hidden_paths(tmp_path)
    assert {tmp_path / ".netrc", tmp_path / ".ssh"} <= set(hidden)
    argv = wrap(Kind.BUBBLEWRAP, ["x"], Sandbox(Path("/"), hidden=hidden))
    assert ("/dev/null", str(tmp_path / ".netrc")) in argument_pairs(argv, "--ro-bind")
    assert argv[argv.index(str(tmp_path / ".ssh")) - 1] == "--tmpfs"


def test_a_read_only_root_has_a_read_only_tmp_unless_it_is_a_tmpfs() -> None:
    def argv(**changes) -> list[str]:
        return wrap(Kind.BUBBLEWRAP, ["x"], Sandbox(Path("/"), **changes))

    assert "--remount-ro" not in argv()
    assert "--remount-ro" in argv(read_only_tmp=True)
    assert "--remount-ro" not in argv(read_only_tmp=True, tmpfs={"/tmp": 2})
    with_size = argv(tmpfs={"/tmp": 2})
    assert with_size[with_size.index("--size") + 1 :][:3] == ["2097152", "--tmpfs", "/tmp"]


def test_how_deep_the_program_is() -> None:
    assert [depth(kind, init_process=False) for kind in Kind] == [1, 1, 0]
    assert [depth(kind, init_process=True) for kind in Kind] == [2, 1, 0]
    assert "--as-pid-1" not in wrap(Kind.BUBBLEWRAP, ["x"], Sandbox(Path("/"), init_process=True))
    assert wrap(Kind.NONE, ["x", "y"], Sandbox(Path("/"))) == ["x", "y"]


def test_the_growth_limit_leaves_room_above_the_memory_limit(image: ImageSource) -> None:
    limits = {name: (soft, hard) for name, soft, hard in prepared(image, memory_mib=100).limits}
    soft, hard = limits["RLIMIT_DATA"]
    assert soft == hard > 2 * 100 * 1024 * 1024
    assert "RLIMIT_DATA" not in [name for name, _, _ in prepared(image).limits]
