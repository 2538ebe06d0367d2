"""Graders in a temporary folder, marked in both runtimes."""

import pytest

from chalicelib.contract.submitted import accept_files
from tests.integration.box.conftest import place as place_of_box
from usher.grading.folders import read_grader
from usher.grading.judge import Judge

place = place_of_box


class Marks:
    """Writes a grader, and marks one program with it."""

    def __init__(self, folder, place):
        self.folder, self.place = folder, place
        self.progress = []

    def write(self, text, **files):
        self.folder.joinpath("grader.toml").write_text(text)
        for name, content in files.items():
            self.folder.joinpath(name.replace("_", ".")).write_text(content)

    def mark(self, program, name="main.py"):
        folder = read_grader(self.folder)
        judge = Judge(self.place.boxes, self.place.image)
        submitted = accept_files({name: program.encode()}, folder.grader.files)
        return judge.grade(folder, submitted, lambda *told: self.progress.append(told))


@pytest.fixture
def marks(tmp_path, place):
    return Marks(tmp_path, place)
