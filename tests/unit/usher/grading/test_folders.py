"""Graders and assignments as folders."""

import pytest

from chalicelib.contract.graders import GraderError
from usher.grading.folders import read_assignment, read_grader

GRADER = 'files = ["a"]\nrun = ["cat"]\n[[cases]]\ninput = "1.in"\nanswer = "1.ans"\npoints = 10\n'


def write(folder, text=GRADER):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "grader.toml").write_text(text)
    (folder / "1.in").write_text("1")
    (folder / "1.ans").write_text("2")
    (folder / "solutions").mkdir(exist_ok=True)
    (folder / "solutions" / "right").write_text("x")


def test_a_grader_has_its_files_without_the_solutions(tmp_path):
    write(tmp_path)
    (tmp_path / "link").symlink_to("/etc/passwd")
    assert sorted(read_grader(tmp_path).files) == ["1.ans", "1.in", "grader.toml"]


def test_parts_with_points_and_a_pass_mark(tmp_path):
    write(tmp_path / "one")
    write(tmp_path / "two")
    parts = '[parts.one]\npoints = 50\n[parts.b]\npoints = 50\ngrader = "two"\n'
    text = f'title = "T"\npass_points = 80\n{parts}'
    (tmp_path / "assignment.toml").write_text(text)
    found = read_assignment(tmp_path)
    assert (found.title, found.pass_points) == ("T", 80)
    assert {name: part.points for name, part in found.parts.items()} == {"one": 50, "b": 50}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "at least one"),
        ("[parts.one]\npoints = 5\ngrader = '../x'", "a folder inside"),
        ("[parts.one]\npoints = 5\nx = 1", "x: is not known"),
        ("pass_points = 6\n[parts.one]\npoints = 5", "more than all parts"),
        ("[parts.none]", "there is no"),
        ("[", "assignment.toml"),
    ],
)
def test_problems_of_an_assignment(tmp_path, text, words):
    write(tmp_path / "one")
    (tmp_path / "assignment.toml").write_text(text)
    with pytest.raises(GraderError, match=words):
        read_assignment(tmp_path)


def test_an_image_grader_has_no_cases(tmp_path):
    write(tmp_path, 'kind = "image"\nimage = "x"\nfiles = ["a"]\n')
    assert read_grader(tmp_path).grader.kind == "image"


def test_a_folder_without_either(tmp_path):
    with pytest.raises(GraderError, match="neither"):
        read_assignment(tmp_path)
