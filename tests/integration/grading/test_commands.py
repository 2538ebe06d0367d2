"""`usher grade` and `usher grader check` as a user calls them."""

import json
import os
import subprocess
import sys

import pytest

from tests.integration.grading.test_judge import DOUBLE, FILES


@pytest.fixture
def usher(marks):
    marks.write(DOUBLE, **FILES)

    def call(*words):
        runtime = ["--runtime", marks.place.name]
        runtime += ["--base", marks.place.image] if marks.place.image else []
        return subprocess.run(
            [sys.executable, "-m", "usher", *map(str, words), *runtime],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )

    call.folder = marks.folder
    return call


def submit(usher, program, *words):
    file = usher.folder / "main.py"
    file.write_text(program)
    return usher("grade", usher.folder, file, *words)


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("print(int(input()) * 2)", 0, "AC (right), 100 of 100 points"),
        ("print(42)", 1, "WA (wrong answer), 40 of 100 points"),
    ],
)
def test_exit_codes(usher, program, code, words):
    done = submit(usher, program)
    assert done.returncode == code, done
    assert words in done.stdout
    assert "2 (hidden)" in done.stdout
    assert "98701" not in done.stdout + done.stderr


def test_one_json_document_and_the_authors(usher):
    done = submit(usher, "print(42)", "--json")
    told = json.loads(done.stdout)
    assert (told["verdict"], told["score"], told["maxScore"]) == ("WA", 40, 100)
    assert "98701" not in done.stdout
    assert "98701" in submit(usher, "print(42)", "--json", "--author").stdout


def test_wrong_use(usher):
    done = usher("grade", usher.folder, usher.folder / "1.in")
    assert done.returncode == 2
    assert "1.in is not asked for; wanted: main.py" in done.stderr
    (usher.folder / "grader.toml").write_text("kind = 'x'\nlimit = 3")
    done = submit(usher, "")
    assert done.returncode == 2
    assert "kind: one of tests, image" in done.stderr
    assert "limit: is not known here" in done.stderr


def test_a_grader_that_fails(usher):
    text = 'checker = {program = "check.py"}'
    (usher.folder / "grader.toml").write_text(text + DOUBLE)
    (usher.folder / "check.py").write_text("import sys; print('98701'); sys.exit(3)")
    done = submit(usher, "print(42)")
    assert done.returncode == 3
    assert "not your fault" in done.stdout
    assert "98701" not in done.stdout + done.stderr
    assert "98701" in submit(usher, "print(42)", "--author").stdout


def test_solutions_are_checked(usher):
    solutions = usher.folder / "solutions"
    solutions.mkdir()
    (solutions / "right.py").write_text("# @EXPECTED: AC\nprint(int(input()) * 2)\n")
    (solutions / "wrong.py").write_text("# @EXPECTED: WA\nprint(42)\n")
    done = usher("grader", "check", usher.folder)
    assert done.returncode == 0, done
    (solutions / "lies.py").write_text("# @EXPECTED: AC\nprint(42)\n")
    (solutions / "silent.py").write_text("print(42)\n")
    assert done.stdout.count("ok ") == 2
    done = usher("grader", "check", usher.folder, "--json")
    assert done.returncode == 1
    assert "lies.py: WA, 40 of 100, expected AC" in done.stderr
    assert "silent.py: no @EXPECTED" in done.stderr
    told = json.loads(done.stdout)
    lies, right, silent, wrong = told["solutions"]
    assert [told["right"], *(one["right"] for one in told["solutions"])] == [
        *(False, False, True, False, True)
    ]
    assert (lies["solution"], lies["verdict"], lies["expected"]) == ("lies.py", "WA", "AC")
    assert (lies["score"], right["score"], lies["maxScore"]) == (40, 100, 100)
    assert (silent["verdict"], silent["expected"]) == (None, None)
    assert wrong["why"] == ""
