import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.cli.main import main
from usher.docker import BuildOptions, build_command, build_context, local_tag
from usher.docker_run import run_command
from usher.errors import ProjectError
from usher.job import snake_case
from usher.new_project import _check_name, class_name, write_project

ROOT = Path(__file__).parents[3]


def files_in(folder):
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def test_a_new_project_has_a_job_its_parameters_its_test_and_an_image(tmp_path):
    write_project("price_alert", tmp_path)
    assert files_in(tmp_path) == [
        ".dockerignore",
        "Dockerfile",
        "conftest.py",
        "jobs/__init__.py",
        "jobs/price_alert.py",
        "parameters/price_alert.json",
        "requirements.txt",
        "tests/test_price_alert.py",
    ]
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or "{{" not in path.read_text()
    assert "class PriceAlert(Job):" in (tmp_path / "jobs" / "price_alert.py").read_text()


def test_what_is_there_is_never_overwritten(tmp_path):
    write_project("one", tmp_path)
    (tmp_path / "Dockerfile").write_text("mine")
    write_project("two", tmp_path)
    assert (tmp_path / "Dockerfile").read_text() == "mine"
    before = files_in(tmp_path)
    with pytest.raises(ProjectError, match="is there already, and nothing was written"):
        write_project("two", tmp_path)
    (tmp_path / "jobs" / "three.py").touch()
    with pytest.raises(ProjectError):
        write_project("three", tmp_path)
    assert files_in(tmp_path) == sorted([*before, "jobs/three.py"])


@pytest.mark.parametrize("name", ["Price", "1st", "a-b", "", "../up", "a" * 41])
def test_names_that_make_no_job(tmp_path, name):
    with pytest.raises(ProjectError, match="is no name for a job"):
        write_project(name, tmp_path)
    assert files_in(tmp_path) == []


def test_inside_a_project_only_the_job_is_added(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "one"]) == 0
    assert "try it: cd one && usher run one parameters/one.json" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path / "one")
    assert main(["new", "two"]) == 0
    assert "wrote jobs/two.py" in capsys.readouterr().out
    assert (tmp_path / "one" / "jobs" / "two.py").exists()


def test_the_example_project_is_made_like_a_new_one():
    theirs = (ROOT / "examples" / "jobs" / "Dockerfile").read_text()
    assert theirs == (ROOT / "usher" / "Dockerfile").read_text()


def test_a_build_context_has_the_project_usher_and_wheels(tmp_path):
    project = tmp_path / "project"
    write_project("one", project)
    (project / ".venv").mkdir()
    (project / ".venv" / "huge").touch()
    with build_context(project, None) as context:
        names = files_in(context)
        assert (context / "wheels").is_dir()
    assert "usher/entry.py" in names
    assert "usher/contract/jobs.py" in names
    assert "chalicelib/contract/jobs.py" in names
    assert "chalicelib/config.py" not in names
    (project / "chalicelib").mkdir()
    (project / "chalicelib" / "own.py").touch()
    with build_context(project, None) as context:
        ours = [name for name in files_in(context) if name.startswith("chalicelib")]
    assert ours == ["chalicelib/own.py"]
    assert "jobs/one.py" in names
    assert not [name for name in names if "__pycache__" in name or ".venv" in name]


def test_the_image_of_a_project_has_a_name_docker_takes(tmp_path):
    tag = local_tag(tmp_path / "My Project!")
    assert re.fullmatch(r"usher-run/my-project-[0-9a-f]{8}", tag)
    assert tag != local_tag(tmp_path / "my project")


def test_docker_commands():
    assert build_command("a:1", ".", BuildOptions(base="b")) == [
        *("docker", "build", "--tag", "a:1", "--build-arg", "BASE_IMAGE=b", "."),
    ]
    description = {"name": "echo", "cpu": 512, "memory": 64, "environment": {"A": "b c"}}
    words = run_command("a:1", description)
    assert words[-3:] == ["a:1", "--local", "echo"]
    text = " ".join(words)
    for part in (
        "--cpus 0.5",
        "--memory 64m --memory-swap 64m",
        "--read-only",
        "--cap-drop ALL",
        "--security-opt no-new-privileges",
        "--env A=b c",
        "--env JOB_NAME=echo",
    ):
        assert part in text


@pytest.mark.parametrize(
    "name", ["top_10", "a", "x2_y", "a_1_b_2", "list", "json", "open_ai_job", "v_2"]
)
def test_a_new_job_is_called_as_asked(tmp_path, name):
    write_project(name, tmp_path)
    text = (tmp_path / "jobs" / f"{name}.py").read_text()
    assert snake_case(re.search(r"class (\w+)\(Job\)", text)[1]) == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("class", "class_job would be one"),
        ("none", "none_job would be one"),
        ("job", "job_job would be one"),
        ("field", "field_job would be one"),
        ("base_model", "base_model_job would be one"),
        ("a__b", "single _ between words"),
        ("a_", "single _ between words"),
        ("PriceAlert", "price_alert would be one"),
        ("price-alert", "price_alert would be one"),
        ("größe", "is no name for a job"),
        ("", "is no name for a job"),
        ("1a", "is no name for a job"),
        ("x" * 41, "1 to 40"),
    ],
)
def test_a_name_that_cannot_be_had_is_refused_with_words(tmp_path, name, words):
    with pytest.raises(ProjectError, match=words):
        write_project(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


@given(st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True))
def test_a_name_is_kept_or_refused(name):
    try:
        _check_name(name)
    except ProjectError:
        return
    assert snake_case(class_name(name)) == name
