"""The graders in examples/ give each of their solutions the verdict that it expects."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.box.conftest import python_image
from tests.needs import needs_bubblewrap, needs_docker, needs_gcc, needs_java

ROOT = Path(__file__).parents[3]


def check(name, *words):
    return subprocess.run(
        [sys.executable, "-m", "usher", "grader", "check", f"examples/graders/{name}", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.alone
@needs_bubblewrap
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("anagrams", 3),
        needs_gcc.parameter("painter", 4),
        needs_java.parameter("factors", 7),
    ],
)
def test_every_solution_gets_what_it_expects(name, count):
    done = check(name, "--runtime", "bubblewrap")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == count


@needs_docker
def test_an_image_gives_every_solution_what_it_expects():
    done = check("roman", "--runtime", "docker", "--base", python_image())
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == 4
