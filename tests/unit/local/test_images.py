"""The command of an image is read from its Dockerfile; images are found by name."""

import contextlib
import json
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.hosts.base import CannotPullImageError, CannotStartError
from local.hosts.dockerfile import DockerfileError, ImageConfig, parse_dockerfile, read_dockerfile
from local.hosts.images import (
    ImageSource,
    find_source,
    folder_image,
    full_name,
    program_of,
    resolve,
)
from local.hosts.own_package import own_package

SH = ("/bin/sh", "-c")


def config_of(*lines: str) -> ImageConfig:
    return parse_dockerfile("\n".join(["FROM base", *lines]))


def test_exec_form_is_taken_word_by_word():
    config = config_of('ENTRYPOINT ["python", "-m", "x y"]', 'CMD ["--flag"]')
    assert config.entry_point == ("python", "-m", "x y")
    assert config.command == ("--flag",)


def test_shell_form_goes_to_the_shell():
    assert config_of("CMD echo $HOME && date").command == (*SH, "echo $HOME && date")
    assert config_of('SHELL ["/bin/bash", "-ec"]', "CMD date").command == (
        "/bin/bash",
        "-ec",
        "date",
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ENV A=1 B=2", {"A": "1", "B": "2"}),
        ("ENV A one two  three", {"A": "one two  three"}),
        ('ENV A="x y" B=x\\ y', {"A": "x y", "B": "x y"}),
        ("ENV A='$B' B=\\$C", {"A": "$B", "B": "$C"}),
        ("ENV A=${NOT_SET:-7} B=${NOT_SET:+7} C=$NOT_SET", {"A": "7", "B": "", "C": ""}),
        ('ENV A="a \\"b\\" \\c"', {"A": 'a "b" \\c'}),
        ("ENV A=x=y", {"A": "x=y"}),
        ("env A=$ B=a$", {"A": "$", "B": "a$"}),
    ],
)
def test_both_forms_of_env(line, expected):
    environment = dict(config_of(line).environment)
    del environment["PATH"]
    assert environment == expected


def test_variables_come_from_arg_and_earlier_env():
    config = parse_dockerfile(
        "ARG VERSION=3\nARG UNUSED=1\nFROM base:${VERSION}\nARG VERSION\nARG SIZE=9\n"
        "ENV A=$VERSION-$SIZE-$UNUSED\nENV A=new B=$A\nENV PATH=/opt/bin:$PATH\nWORKDIR /srv/$SIZE"
    )
    assert config.environment["A"] == "new"
    assert config.environment["B"] == "3-9-"
    assert config.environment["PATH"].startswith("/opt/bin:/usr/local/sbin:")
    assert config.working_directory == "/srv/9"
    assert config.build_arguments == {"VERSION": "3", "UNUSED": "1"}


def test_workdir_builds_on_the_one_before():
    assert (
        config_of("WORKDIR /app", "WORKDIR sub/./x", "WORKDIR ..").working_directory == "/app/sub"
    )
    assert config_of().working_directory == "/"


def test_only_the_last_stage_counts_with_what_it_inherits():
    config = parse_dockerfile(
        "FROM a AS build\nENV LEFT=behind\nUSER build\nCMD date\n"
        "FROM b AS common\nENV KEPT=1\nUSER app\n"
        "FROM common\nENTRYPOINT exec run"
    )
    assert "LEFT" not in config.environment
    assert config.environment["KEPT"] == "1"
    assert (config.user, config.entry_point, config.command) == ("app", (*SH, "exec run"), ())


def test_an_entry_point_does_away_with_an_inherited_command_only():
    inherited = "FROM a AS common\nCMD one\nFROM common\n"
    assert parse_dockerfile(inherited + 'ENTRYPOINT ["x"]').command == ()
    assert parse_dockerfile(inherited + "CMD two\n" + 'ENTRYPOINT ["x"]').command == (*SH, "two")


def test_continuations_comments_heredocs_and_directives():
    config = parse_dockerfile(
        "# syntax=docker/dockerfile:1\n# escape=\\\n\n  # a comment\nFROM base\n"
        "RUN one \\\n# within\n\n   && two <<< here\n"
        "COPY <<FIRST <<-'SECOND' /etc/\nUSER nobody-here\nFIRST\n\tCMD nor here\n\tSECOND\n"
        "\tENV A=1 \\  \n  # hidden\n    B=2\n"
        'CMD [ "a" , \\\n "b" ]'
    )
    assert (config.environment["A"], config.environment["B"]) == ("1", "2")
    assert (config.user, config.command) == (None, ("a", "b"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM a\n\nFORM b", "file:3: unknown instruction 'FORM'"),
        ("FROM a\nENV A='x", "file:2: a single quote has no end"),
        ('FROM a\nRUN x\nENV A="x', "file:3: a double quote has no end"),
        ("FROM a\nENV A", "file:2: ENV A has no value"),
        ("FROM a\nENV A=1 B", "file:2: 'B' is not NAME=VALUE"),
        ("FROM a\nENV A=${B", "file:2: cannot fill in"),
        ("CMD x", "file:1: CMD before the first FROM"),
        ("FROM a b", "file:1: FROM takes an image"),
        ("FROM a\nUSER", "file:2: USER needs an argument"),
        ("FROM a\nSHELL bash", "file:2: SHELL takes a JSON list"),
        ("FROM a\nRUN <<END\nx", "file:2: the heredoc END has no end"),
        ("# escape=`\nFROM a", "file:1: the escape character"),
        ("# nothing", "file:1: no FROM"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(text, message):
    with pytest.raises(DockerfileError) as caught:
        parse_dockerfile(text, "file")
    assert str(caught.value).startswith(message)


def test_a_missing_file_is_an_error_with_its_name(tmp_path):
    with pytest.raises(DockerfileError, match="Dockerfile:0: cannot be read"):
        read_dockerfile(tmp_path / "Dockerfile")


WORD = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1
)


@given(
    st.lists(WORD, min_size=1, max_size=5),
    st.dictionaries(st.from_regex(r"[A-Z_]+", fullmatch=True), WORD, max_size=4),
)
def test_whatever_is_written_is_read_back(words, environment):
    def quoted(value):
        return '"' + "".join("\\" + char if char in '"\\$' else char for char in value) + '"'

    lines = [f"ENV {name}={quoted(value)}" for name, value in environment.items()]
    config = config_of(*lines, f"CMD {json.dumps(words)}")
    assert config.command == tuple(words)
    assert {**config.environment, **environment} == dict(config.environment)


@given(st.text())
def test_any_text_is_read_or_refused_with_a_line(text):
    with contextlib.suppress(DockerfileError):
        assert parse_dockerfile("FROM a\n" + text).working_directory.startswith("/")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("a", "a:latest"),
        ("a:1", "a:1"),
        ("host:5000/a", "host:5000/a:latest"),
        ("host:5000/a:1", "host:5000/a:1"),
        ("a@sha256:0", "a@sha256:0"),
    ],
)
def test_names_have_a_tag(image, expected):
    assert full_name(image) == expected


def source_in(folder, dockerfile: str, name: str = "mine") -> ImageSource:
    (folder / "Dockerfile").write_text(dockerfile)
    (folder / "server.js").write_text("")
    (folder / "sub").mkdir()
    return ImageSource(name, folder / "Dockerfile", folder)


def test_a_program_runs_in_the_context_in_place_of_the_working_directory(tmp_path):
    source = source_in(
        tmp_path,
        "FROM node\nENV A=1 PATH=/opt/bin\nWORKDIR /app\nUSER node\n"
        'ENTRYPOINT ["node", "/app/server.js"]\nCMD ["/app/not-there", "/etc/hosts"]',
    )
    program = resolve("mine:latest", [source])
    assert program.argv == ("node", str(tmp_path / "server.js"), "/app/not-there", "/etc/hosts")
    assert program.environment == {"A": "1"}
    assert program.working_directory == tmp_path
    assert program.user == "node"
    assert resolve("mine", [source], working_directory="sub").working_directory == tmp_path / "sub"
    assert str(resolve("mine", [source], working_directory="/tmp").working_directory) == "/tmp"


@pytest.mark.parametrize("python", ["python", "python3", "python3.12", "/usr/local/bin/python"])
def test_python_is_the_one_that_runs_this(tmp_path, python):
    config = ImageConfig(entry_point=(python, "-m", "x"), working_directory="/app")
    assert program_of(config, tmp_path).argv == (sys.executable, "-m", "x")


def test_the_container_definition_overrules_the_image(tmp_path):
    config = ImageConfig(entry_point=("a",), command=("b",))
    assert program_of(config, tmp_path, command=["c"]).argv == ("a", "c")
    assert program_of(config, tmp_path, entry_point=["d"]).argv == ("d",)
    assert program_of(config, tmp_path, entry_point=["d"], command=["c"]).argv == ("d", "c")


def test_an_image_without_source_cannot_be_pulled(tmp_path):
    source = source_in(tmp_path, "FROM a\nCMD x", "mine:2")
    assert find_source("mine:2", [source]) is source
    with pytest.raises(
        CannotPullImageError, match=r"^CannotPullContainerError: .*mine:latest: not found"
    ):
        resolve("mine", [source])


def test_an_image_that_cannot_be_read_cannot_be_pulled(tmp_path):
    with pytest.raises(CannotPullImageError, match=r"Dockerfile:2: unknown instruction"):
        resolve("mine", [source_in(tmp_path, "FROM a\nNONSENSE x")])


def test_an_image_that_copies_what_is_missing_cannot_be_pulled(tmp_path):
    source = source_in(tmp_path, "FROM a\nCOPY server.js gone.py no*.js /app/\nCMD x")
    with pytest.raises(CannotPullImageError, match=r"COPY gone\.py, no\*\.js: not found"):
        resolve("mine", [source])


@pytest.mark.parametrize("path", [".", "/server.js", "serv*.js", "./sub/", "wheels", "usher/x"])
def test_what_a_build_has_in_its_context_may_be_copied(tmp_path, path):
    source = source_in(tmp_path, f"FROM a\nCOPY {path} /app/\nCMD x")
    assert resolve("mine", [source]).working_directory == tmp_path


def test_an_image_without_a_program_cannot_start(tmp_path):
    with pytest.raises(CannotStartError, match="No command specified"):
        resolve("mine", [source_in(tmp_path, "FROM a")])


def test_a_folder_is_an_image_that_finds_usher_beside_itself(tmp_path):
    source_in(tmp_path, 'FROM a\nWORKDIR /app\nENTRYPOINT ["node", "server.js"]')
    program = resolve(f"dir:{tmp_path}", [])
    assert program.working_directory == tmp_path
    assert program.environment == {"PYTHONPATH": str(own_package())}


def test_the_python_path_of_a_folder_comes_first(tmp_path):
    source_in(tmp_path, "FROM a\nENV PYTHONPATH=/lib\nCMD x")
    assert resolve(f"dir:{tmp_path}", []).environment == {"PYTHONPATH": f"/lib:{own_package()}"}


@pytest.mark.parametrize("image", ["dir:/no/such/folder", "dir:relative", "dir:"])
def test_a_folder_that_is_none_cannot_be_pulled(image):
    with pytest.raises(CannotPullImageError, match=r"^CannotPullContainerError: .*no such folder"):
        resolve(image, [])


def test_a_folder_without_a_dockerfile_cannot_be_pulled(tmp_path):
    with pytest.raises(CannotPullImageError, match=r"^CannotPullContainerError: .*Dockerfile"):
        resolve(f"dir:{tmp_path}", [])


def test_two_folders_of_one_name_are_two_images(tmp_path):
    folders = [tmp_path / "a" / "My Jobs!", tmp_path / "b" / "My Jobs!"]
    for folder in folders:
        folder.mkdir(parents=True)
    first, second = (folder_image(f"dir:{folder}").name for folder in folders)
    assert first != second
    assert re.fullmatch(r"usher-dir/my-jobs-[0-9a-f]{8}", first)
