"""`usher new --session`: the files of a session app that works."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from chalicelib.apps import parse_apps
from usher.cli.main import main
from usher.errors import ProjectError
from usher.new_session import write_session_app

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["counter", "price-alert", "top10", "a" * 32])
def test_what_it_writes_is_a_session_app_with_a_test_that_passes(tmp_path, name):
    write_session_app(name, tmp_path)
    apps = parse_apps(tomllib.loads((tmp_path / "apps.toml").read_text()))
    assert (apps.default, apps.by_name[name].image) == (name, name)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    texts = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert not any("{{" in path.read_text() for path in texts)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Counter", "counter would be one"),
        ("price_alert", "price-alert would be one"),
        ("-x", "x would be one"),
        ("queue", "my-queue would be one"),
        ("class", "my-class would be one"),
        ("session-handler", "my-session-handler would be one"),
        ("job-1", "my-job-1 would be one"),
        ("a" * 33, "up to 32"),
        ("../x", "x would be one"),
        ("", "up to 32"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused_with_one_that_can(tmp_path, name, says):
    with pytest.raises(ProjectError, match=says):
        write_session_app(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_there_stay_and_nothing_is_written(tmp_path):
    (tmp_path / "Dockerfile").write_text("mine")
    with pytest.raises(ProjectError, match="Dockerfile is there already"):
        write_session_app("counter", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["Dockerfile"]


def test_the_command_writes_into_a_folder_of_that_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "counter", "--session"]) == 0
    assert (tmp_path / "counter" / "counter.py").is_file()
    assert "usher dev" in capsys.readouterr().out
