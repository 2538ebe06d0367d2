"""Graders of the kind `image`: what they are given, which results count, and what can be forged."""

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chalicelib.grading.archives import pack
from tests.integration.box.conftest import python_image
from tests.needs import needs_bubblewrap, needs_docker
from usher.box.bubblewrap_box import BubblewrapBoxes
from usher.box.docker_box import DockerBoxes
from usher.grading.folders import read_files, read_grader
from usher.grading.images import image_for
from usher.grading.judge import Judge
from usher.grading.marking import Marker, Order, Papers
from usher.grading.results import document

GRADER = 'kind = "image"\nfiles = ["main.py"]\ntime_limit_seconds = 5\nwall_limit_seconds = 3\n'
DOCKERFILE = """
ARG USHER_BASE_IMAGE
FROM ${USHER_BASE_IMAGE}
COPY grade.py answer.txt /grader/
ENV FLAVOUR=plain
WORKDIR /grader
ENTRYPOINT ["python3", "/grader/grade.py"]
"""
FOOLISH = """
# Runs what was handed in, as a grader should not: in its own process.
exec(open("/shared/submission/main.py").read())
"""
SAFE = """
import json, subprocess, sys
command = ["usher-box", "run", "--time", "1", "--memory", "64", "--", "python3", "main.py"]
ended = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
print(ended, file=sys.stderr)
is_right = ended["stdout"].strip() == open("answer.txt").read().strip()
print(json.dumps({"isCorrect": is_right, "feedback": ended["stdout"] + ended["stderr"]}))
"""


class Author:
    """A grader and its image, and the marks that it gives."""

    def __init__(self, path: Path, program: str, boxes: DockerBoxes):
        for name, text in {
            "grader.toml": GRADER,
            "Dockerfile": DOCKERFILE,
            "grade.py": program,
            "answer.txt": "a secret of the author\n",
        }.items():
            (path / name).write_text(text)
        self.folder = read_grader(path)
        self.judge = Judge(boxes, image_for(self.folder, python_image()).id)

    def mark(self, program: str):
        return self.judge.grade(self.folder, {"main.py": program.encode()}, learner="ada")


@pytest.fixture(scope="module")
def boxes():
    with contextlib.closing(DockerBoxes(python_image())) as made:
        yield made


@pytest.fixture(scope="module")
def foolish(boxes, tmp_path_factory):
    return Author(tmp_path_factory.mktemp("foolish"), FOOLISH, boxes)


@pytest.fixture(scope="module")
def safe(boxes, tmp_path_factory):
    return Author(tmp_path_factory.mktemp("safe"), SAFE, boxes)


def writes(**files):
    """A program that writes files, by their number in this list."""
    places = {
        "coursera": "/shared/feedback.json",
        "html": "/shared/htmlFeedback.html",
        "gradescope": "/autograder/results/results.json",
        "prairielearn": "/grade/results/results.json",
    }
    return "\n".join(f"open({places[name]!r}, 'w').write({text!r})" for name, text in files.items())


COURSERA = '{"fractionalScore": 0.5, "feedback": "half"}'
RESULTS = [
    (writes(coursera=COURSERA), "WA", 50),
    (writes(coursera='{"isCorrect": true, "feedback": "yes"}'), "AC", 100),
    (writes(gradescope='{"tests": [{"score": 1, "max_score": 4}]}'), "WA", 25),
    (writes(prairielearn='{"score": 1, "message": "good"}'), "AC", 100),
    (writes(prairielearn='{"gradable": false, "message": "what is this?"}'), "PE", None),
    ("print('noise'); print('{\"fractionalScore\": 0.25}')", "WA", 25),
    # The first that is there counts.
    (writes(prairielearn='{"score": 1}', gradescope='{"score": 7}', coursera=COURSERA), "WA", 50),
    (writes(prairielearn='{"score": 1}', gradescope='{"score": 7}'), "WA", 7),
    # An invalid one is the grader's failure; later ones are not read.
    (writes(coursera='{"fractionalScore": true}', prairielearn='{"score": 1}'), "IE", None),
    (writes(coursera='{"fractionalScore": 1, "fractionalScore": 0}'), "IE", None),
    (writes(coursera='{"fractionalScore": 2}'), "IE", None),
    (writes(coursera=COURSERA + " " * 2**21), "IE", None),
    ("import os; os.symlink('/etc/passwd', '/shared/feedback.json')", "IE", None),
    ("pass", "IE", None),
    (writes(coursera=COURSERA) + "; raise SystemExit(1)", "IE", None),
    (writes(coursera=COURSERA) + "; import time; time.sleep(60)", "IE", None),
    (writes(coursera=COURSERA) + "; held = bytearray(b'x' * (600 << 20))", "IE", None),
]  # fmt: skip


@needs_docker
@pytest.mark.parametrize(("program", "verdict", "score"), RESULTS)
def test_results(foolish, program, verdict, score):
    grading = foolish.mark(program)
    assert (grading.verdict.value, grading.score) == (verdict, score), document(grading)
    if verdict == "IE":
        assert "not your fault" in grading.feedback
        assert grading.details


@needs_docker
def test_what_an_image_is_given(foolish):
    program = """
import json, os, sys
told = {name: os.environ.get(name) for name in ("partId", "userId", "filename", "FLAVOUR")}
told["words"] = sys.argv[1:]
told["user"], told["place"] = os.getuid(), os.getcwd()
told["unknown"] = sorted(set(os.environ) - set(told))
try:
    open("/shared/submission/main.py", "a")
except OSError as error:
    told["write"] = error.strerror
print(json.dumps({"isCorrect": True, "feedback": json.dumps(told)}))
"""
    told = json.loads(foolish.mark(program).feedback)
    name = foolish.folder.name
    assert told["words"] == ["partId", name, "userId", "ada", "filename", "main.py"]
    assert (told["partId"], told["userId"], told["filename"]) == (name, "ada", "main.py")
    assert (told["FLAVOUR"], told["place"], told["user"]) == ("plain", "/grader", 64002)
    assert told["write"] == "Permission denied"
    of_the_image = {"PATH", "LANG", "PYTHON_VERSION", "PYTHON_SHA256", "GPG_KEY"}
    assert set(told["unknown"]) <= {"HOME", "TMPDIR", "LC_CTYPE"} | of_the_image


@needs_docker
def test_markup_becomes_text(foolish):
    page = "<h1>Well</h1><script>alert(1)</script><p>done &amp; dusted</p>"
    coursera = '{"fractionalScore": 1, "feedbackType": "HTML"}'
    assert foolish.mark(writes(coursera=coursera, html=page)).feedback == "Well\ndone & dusted"


@needs_docker
def test_the_next_submission_finds_nothing_of_the_last(foolish):
    foolish.mark(writes(coursera=COURSERA) + "; open('/tmp/left', 'w'); open('/dev/shm/left', 'w')")
    program = "import os; print('{\"isCorrect\": %s}' % str(not any('left' in os.listdir(p) or "
    program += (
        "'feedback.json' in os.listdir(p) for p in ('/tmp', '/dev/shm', '/shared'))).lower())"
    )
    assert foolish.mark(program).verdict.value == "AC"


FORGERS = [
    "print(open('/grader/answer.txt').read())",
    writes(coursera='{"fractionalScore": 1}'),
    writes(gradescope='{"score": 100}') + "; import os; os.kill(os.getppid(), 9)",
    writes(coursera='{"isCorrect": true}') + "; import os; os._exit(0)",
    "import os; print('{\"isCorrect\": true}', flush=True); os._exit(0)",
]  # fmt: skip


@needs_docker
@pytest.mark.parametrize("program", FORGERS[1:])
def test_without_usher_box_a_submission_forges_the_result(foolish, program):
    program = program.replace("os.kill(os.getppid(), 9)", "os._exit(0)")
    assert foolish.mark(program).verdict.value == "AC"


EQUALS_EVERYTHING = """
class Any(float):
    def __eq__(self, other):
        return True
    __hash__ = float.__hash__
print(Any(1))
"""


@needs_docker
@pytest.mark.parametrize("program", [*FORGERS, EQUALS_EVERYTHING])
def test_with_it_it_does_not(safe, program):
    grading = safe.mark(program)
    assert grading.verdict.value == "WA", document(grading)
    assert "secret" not in grading.feedback


@needs_docker
def test_with_it_a_right_submission_is_right(safe):
    assert safe.mark("print('a secret of the author')").verdict.value == "AC"


INNER = """
import json, subprocess
def run(program, *options, stdin=b""):
    command = ["usher-box", "run", *options, "--", "python3", "-c", program]
    return json.loads(subprocess.run(command, input=stdin, capture_output=True, check=True).stdout)
found = {
    "time": run("while True: pass", "--time", "0.3")["limit"],
    "memory": run("held = bytearray(b'x' * (100 << 20))", "--memory", "32")["limit"],
    "output": run("while True: print('x' * 1000)")["limit"],
    "stdin": run("print(input()[::-1])", "--stdin", "-", stdin=b"abc\\n")["stdout"],
    "code": run("raise SystemExit(7)")["exitCode"],
    "signal": run("import os; os.abort()")["signal"],
    "kept": [run("open('note', 'w').write('x')")["exitCode"], run("open('note')")["exitCode"]],
    "seen": run("import os; print(os.getuid(), sorted(os.listdir('/')))")["stdout"],
    "files": run("import os; print(sorted(os.listdir('.')))")["stdout"],
    "asks": run("import os; print(os.path.exists('/usher/run/box.sock'))")["stdout"],
    "tests": run("open('/shared/feedback.json')")["exitCode"],
    "network": run("import os; print(os.listdir('/sys/class/net'))")["exitCode"],
    "left": run("import os, time\\nif os.fork() == 0: os.setsid(); time.sleep(60)")["limit"],
    "long": run("while True: pass", "--time", "9", "--memory", "100000")["limit"],
}
print(json.dumps({"isCorrect": True, "feedback": json.dumps(found)}))
"""


@needs_docker
def test_what_usher_box_runs_is_held_and_told(foolish):
    foolish.folder.path.joinpath("grader.toml").write_text(
        'kind = "image"\nfiles = ["main.py"]\ntime_limit_seconds = 2\nwall_limit_seconds = 30\n'
    )
    folder = read_grader(foolish.folder.path)
    grading = foolish.judge.grade(folder, {"main.py": INNER.encode()})
    assert grading.verdict.value == "AC", document(grading)
    found = json.loads(grading.feedback)
    # Which of the two is seen first depends on how busy this machine is.
    assert {found.pop("time"), found.pop("long")} <= {"cpu", "wall"}
    seen = found.pop("seen")
    assert seen.startswith("64001 ")
    assert not {"grader", "shared", "usher"} & set(json.loads(seen[6:].replace("'", '"')))
    assert found == {
        "memory": "memory",
        "output": "output",
        "stdin": "cba\n",
        "code": 7,
        "signal": 6,
        "kept": [0, 0],
        "files": "['main.py', 'note']\n",
        "asks": "False\n",
        "tests": 1,
        "network": 1,
        "left": None,
    }


@needs_docker
@needs_bubblewrap
def test_bubblewrap_has_no_images(foolish):
    judge = Judge(BubblewrapBoxes(), foolish.judge.image)
    grading = judge.grade(foolish.folder, {"main.py": b""})
    assert grading.verdict.value == "IE"
    assert "needs Docker" in grading.details


NAMES = """
import json, os, sys
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert words["userId"] == os.environ["userId"], words
print(json.dumps({"isCorrect": True, "feedback": words["userId"]}))
"""


@needs_docker
def test_a_judge_tells_the_image_whose_submission_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("USHER_BASE_IMAGE", python_image())
    (tmp_path / "part").mkdir()
    files = read_files(Author(tmp_path / "part", NAMES, None).folder.path)
    for name, content in (("grader", files), ("files", {"main.py": b""})):
        (tmp_path / f"{name}.zip").write_bytes(pack(content))
    order = Order("g", "s", "part", "part", "api_key:ada", 1)
    urls = [(tmp_path / f"{name}.zip").as_uri() for name in ("grader", "files")]
    with contextlib.closing(Marker()) as marker:
        mark = marker.mark_order(order, Papers(*urls, {}), lambda *_: None, datetime.now(UTC))
    assert (mark["verdict"], mark["feedback"]) == ("AC", "api_key:ada"), mark
