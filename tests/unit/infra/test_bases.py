"""Digests of base images: found out where a registry answers, kept where not, used by stages."""

import pytest

from infra.deploy.settings import DEFAULT_BASE
from infra.supply.bases import (
    DIGEST,
    DOCKERFILES,
    FILE,
    ROOT,
    NoDigestError,
    bases_of,
    look_up,
    parse_digests,
    pinned,
    read_digests,
    renew,
)

ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
REFUSES = "#!/bin/sh\necho 'pulling' >&2; echo 'no route to host' >&2; exit 1\n"


def docker_that(tmp_path, script):
    """A program in the place of docker."""
    program = tmp_path / "docker"
    program.write_text(script, "utf-8")
    program.chmod(0o755)
    return str(program)


def test_the_bases_are_those_of_the_dockerfiles():
    assert bases_of(ROOT / name for name in DOCKERFILES) == [
        "debian:bookworm-slim",
        "python:3.12-slim",
    ]
    assert bases_of([ROOT / "session_handler" / "Dockerfile"]) == [DEFAULT_BASE]


def test_the_file_of_this_checkout_has_a_digest_of_each_of_them_and_of_nothing_else():
    digests = read_digests(FILE)
    assert set(digests) == set(bases_of(ROOT / name for name in DOCKERFILES))
    assert all(DIGEST.fullmatch(digest) for digest in digests.values())


@pytest.mark.parametrize(
    "text",
    ['"a:1" = "sha256:12"', '"a:1" = 4', f'"a:1@{ONE}" = "{ONE}"', f'["a:1"]\ndigest = "{ONE}"'],
)
def test_what_is_no_digest_is_refused(text):
    with pytest.raises(ValueError, match="a:1"):
        parse_digests(text)


def test_what_docker_pulls_is_written_and_read_again(tmp_path):
    # docker image inspect --format FORMAT NAME
    script = f'#!/bin/sh\n[ "$1" = pull ] || echo "${{5%:*}}@{ONE}"\n'
    file, docker = tmp_path / "base-images.toml", docker_that(tmp_path, script)
    told = renew(["a:1", "b:2"], file, lambda base: look_up(base, docker))
    assert told == [f"a:1: {ONE}", f"b:2: {ONE}"]
    assert read_digests(file) == {"a:1": ONE, "b:2": ONE}
    assert pinned("a:1", read_digests(file)) == f"a:1@{ONE}"
    assert pinned("c:3", read_digests(file)) == "c:3"


def test_where_no_registry_answers_the_file_stays_and_that_is_said(tmp_path):
    file = tmp_path / "base-images.toml"
    file.write_text(f'"a:1" = "{TWO}"\n"gone:1" = "{TWO}"\n', "utf-8")
    docker = docker_that(tmp_path, REFUSES)
    told = renew(["a:1", "b:2"], file, lambda base: look_up(base, docker))
    assert told == [
        f"a:1: {TWO}, not looked up: no route to host",
        "b:2: no digest, not looked up: no route to host",
    ]
    assert read_digests(file) == {"a:1": TWO}


@pytest.mark.parametrize("shown", ["", f"a@{ONE}\\na@{TWO}"])
def test_an_image_without_one_digest_has_none(tmp_path, shown):
    docker = docker_that(tmp_path, f"#!/bin/sh\n[ \"$1\" = pull ] || printf '{shown}'\n")
    with pytest.raises(NoDigestError):
        look_up("a:1", docker)


def test_without_docker_no_file_is_made(tmp_path):
    file = tmp_path / "base-images.toml"
    told = renew(["a:1"], file, lambda base: look_up(base, str(tmp_path / "none")))
    assert "not looked up" in told[0]
    assert not file.exists()
