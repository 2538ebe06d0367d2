"""Coursera's own tool and we mark with the same image, and find the same."""

import contextlib
import json
import subprocess

import pytest

from tests.integration.box.conftest import python_image
from tests.needs import coursera_path, needs_coursera, needs_docker
from usher.box.docker_box import DockerBoxes
from usher.grading.folders import read_grader
from usher.grading.images import image_for
from usher.grading.judge import Judge

DOCKERFILE = """
ARG USHER_BASE_IMAGE
FROM ${USHER_BASE_IMAGE}
COPY grade.py /grader/grade.py
RUN mkdir -p /shared
ENTRYPOINT ["python3", "/grader/grade.py"]
"""
# Coursera's documentation: reads /shared/submission and partId, writes /shared/feedback.json.
GRADER = """
import json, os
parts = {"lines": lambda text: text.count("\\n") / 4, "words": lambda text: len(text.split()) / 10}
with open("/shared/submission/main.py") as file:
    score = min(1.0, parts[os.environ["partId"]](file.read()))
with open("/shared/feedback.json", "w") as file:
    json.dump({"fractionalScore": score, "feedback": f"{score:.2f} of all"}, file)
"""
SUBMISSION = "print(1)\n# and three\n"


@needs_docker
@needs_coursera
@pytest.mark.parametrize("part", ["lines", "words"])
def test_the_same_image_gives_the_same_result(tmp_path, part):
    folder = tmp_path / part
    (tmp_path / "submission").mkdir()
    folder.mkdir()
    (tmp_path / "submission/main.py").write_text(SUBMISSION)
    (folder / "grader.toml").write_text('kind = "image"\nfiles = ["main.py"]\n')
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "grade.py").write_text(GRADER)
    grader = read_grader(folder)
    image = image_for(grader, python_image())
    command = [coursera_path(), "grade", "local", "--dst-dir", tmp_path, image.source]
    told = json.dumps({"partId": part})
    # Its exit code is unusable: it reports a newer engine's answer as a failure.
    done = subprocess.run(
        [*command, tmp_path / "submission", told], capture_output=True, text=True, check=False
    )
    theirs = json.loads((tmp_path / "feedback.json").read_text()), done.stderr
    with contextlib.closing(DockerBoxes(python_image())) as boxes:
        ours = Judge(boxes, image.id).grade(grader, {"main.py": SUBMISSION.encode()})
    assert ours.score == pytest.approx(100 * theirs[0]["fractionalScore"]), ours
    assert ours.feedback == theirs[0]["feedback"]
    assert 0 < ours.score < 100
