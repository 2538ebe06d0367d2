"""An author gives others a folder with a grader, or with session apps, that attacks its reader.

Goal: read files of the user who runs `usher grade` or `usher deploy` in it, call another endpoint
of the Docker Engine, write to the terminal, or make the command, or the dispatcher that the folder
is sent to, fail with an unhandled exception or run without end. Reach: links and pipes in the
folder, numbers, depth and names in its files.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from chalicelib.contract.assignments import ASSIGNMENT, GRADER, parse_assignment
from chalicelib.contract.graders import GraderError
from usher.errors import ProjectError
from usher.grading.folders import read_assignment, read_files
from usher.session_project import APPS_FILE, find_session_project, snapshot

EVIL = "\x1b]0;owned\x07\x1b[2J"


def quoted(text: str) -> str:
    """Returns the text as a string of TOML."""
    return json.dumps(text)


DEEP, HUGE = "a = " + "[" * 100_000, "a = " + "9" * 5_000
GRADER_TEXT = 'files = ["main.py"]\nrun = ["python3", "main.py"]\n[[cases]]\nname = "1"\n'


def grade(folder, *options):
    submitted = folder.parent / "main.py"
    submitted.write_text("print(1)", "utf-8")
    command = [sys.executable, "-m", "usher", "grade", str(folder), str(submitted), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@contextmanager
def ends_within(seconds):
    """Raises TimeoutError in the block when it runs for longer."""

    def stop(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "gift"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("text", [DEEP, HUGE], ids=["deep", "huge"])
@pytest.mark.parametrize("name", [GRADER, ASSIGNMENT])
def test_numbers_and_depth_are_mistakes_of_the_grader(folder, name, text):
    with pytest.raises(GraderError, match=name):
        parse_assignment({name: text.encode()}, "gift")
    (folder / name).write_text(text, "utf-8")
    done = grade(folder)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", [DEEP, HUGE], ids=["deep", "huge"])
def test_numbers_and_depth_are_mistakes_of_the_apps_file(folder, text):
    (folder / APPS_FILE).write_text(text, "utf-8")
    with pytest.raises(ProjectError, match=APPS_FILE):
        find_session_project(folder)


def test_links_lead_nowhere_and_nothing_else_than_files_is_read(folder, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "id").write_text("correct horse", "utf-8")
    (folder / GRADER).symlink_to("/dev/zero")
    (folder / "a file").symlink_to(secret / "id")
    (folder / "a folder").symlink_to(secret)
    os.mkfifo(folder / "a pipe")
    with ends_within(20):
        assert read_files(folder) == {}
        with pytest.raises(GraderError, match="neither"):
            read_assignment(folder)


def test_a_pipe_does_not_hold_a_deployment_of_apps_up(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (folder / APPS_FILE).write_text('[apps.chat]\nimage = "chat"\n', "utf-8")
    os.mkfifo(folder / "a pipe")
    with ends_within(20), pytest.raises(ProjectError, match="a pipe"):
        snapshot(folder)


def test_names_write_nothing_to_the_terminal(folder):
    (folder / ASSIGNMENT).write_text(f"{quoted(EVIL)} = 1\n[parts.{quoted(EVIL)}]\n", "utf-8")
    done = grade(folder)
    assert done.returncode == 2
    assert "owned" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout
    assert "\x07" not in done.stderr + done.stdout


IMAGES = ["../containers/x", "../../info#", "a/../../info", "x\r\nHost: y", "a b", "--privileged"]


@pytest.mark.parametrize("image", [*IMAGES, EVIL])
def test_the_name_of_an_image_is_one(image):
    text = f"image = {quoted(image)}\n"
    with pytest.raises(GraderError, match=r"image: the name of an image"):
        parse_assignment({GRADER: (text + GRADER_TEXT).encode()}, "gift")


@pytest.mark.parametrize(
    "image", ["gcc", "python:3.12-slim", "r.example:5000/a/b_c:1@sha256:" + "0" * 64, "A1/b"]
)
def test_other_names_are_taken(image):
    with pytest.raises(GraderError) as caught:
        parse_assignment({GRADER: f'image = "{image}"\n{GRADER_TEXT}'.encode()}, "gift")
    assert "image:" not in str(caught.value)
