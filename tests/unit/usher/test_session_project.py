"""Folders of session apps, and the copies of them that a local deployment runs."""

import os

import pytest

from usher.errors import ProjectError
from usher.new_session import write_session_app
from usher.session_project import KEPT, content_digest, find_session_project, snapshot


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_session_app("counter", tmp_path / "app")
    return tmp_path / "app"


def test_the_apps_of_a_folder_are_found(folder, tmp_path):
    project = find_session_project(folder)
    assert list(project.chosen([])) == ["counter"]
    with pytest.raises(ProjectError, match="there is no app other"):
        project.chosen(["other"])
    assert find_session_project(tmp_path) is None


@pytest.mark.parametrize("text", ["apps = 3", "[apps]\na = 1", "[[[", "", "\udcff"])
def test_an_apps_file_that_is_none_is_a_problem_of_the_project(folder, text):
    (folder / "apps.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ProjectError, match=r"apps\.toml"):
        find_session_project(folder)


def test_the_same_content_has_the_same_copy_and_a_change_another_one(folder):
    first = snapshot(folder)
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("x")
    assert snapshot(folder) == first
    (folder / "counter.py").write_text("changed")
    second = snapshot(folder)
    assert second != first
    assert (second / "counter.py").read_text() == "changed"
    assert (first / "counter.py").read_text() != "changed", "a copy stays as it was"
    assert not (first / ".git").exists()


def test_names_links_and_permissions_count_as_content(folder):
    seen = {content_digest(folder)}
    (folder / "counter.py").chmod(0o755)
    seen.add(content_digest(folder))
    (folder / "link").symlink_to("counter.py")
    seen.add(content_digest(folder))
    (folder / "link").rename(folder / "other")
    seen.add(content_digest(folder))
    assert len(seen) == 4


def test_old_copies_go_and_what_was_deployed_again_stays(folder):
    whole = (folder / "counter.py").read_text()
    first = snapshot(folder)
    made = []
    for number in range(KEPT + 2):
        (folder / "counter.py").write_text(f"{number}")
        made.append(snapshot(folder))
        os.utime(made[-1], (number, number))
        (folder / "counter.py").write_text(whole)
        assert snapshot(folder) == first
    kept = set(first.parent.iterdir())
    assert kept == {first, *made[1 - KEPT :]}
