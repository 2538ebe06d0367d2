"""Registries of graders' images on a deployment whose judges reach no other registry."""

import pytest

from chalicelib.config import load_config
from chalicelib.contract.assignments import parse_assignment
from chalicelib.errors import BadRequestError
from chalicelib.grading.assignments import Assignments
from chalicelib.grading.images import image_problems, needs_preparation

REPOSITORY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/usher-dev/graders"
DIGEST = "@sha256:" + "0" * 64
GRADER = 'files = ["a"]\nrun = ["a"]\n[[cases]]\ninput = "1.in"\nanswer = "1.in"\n'


def problems(image=None, **more):
    named = "" if image is None else f'image = "{image}"\n'
    files = {"grader.toml": (named + GRADER).encode(), "1.in": b"1", **more}
    return image_problems(parse_assignment(files, "copy"), REPOSITORY)


@pytest.mark.parametrize("tag", ["", ":python-3"])
def test_an_image_of_the_stages_repository_with_a_digest_is_taken(tag):
    assert problems(REPOSITORY + tag + DIGEST) == []


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (None, "names no image"),
        ("gcc:14", "another registry"),
        (f"gcc{DIGEST}", "another registry"),
        (f"{REPOSITORY}-of-others{DIGEST}", "another registry"),
        (f"{REPOSITORY}/other{DIGEST}", "another registry"),
        (f"evil.example/{REPOSITORY}{DIGEST}", "another registry"),
        (f"{REPOSITORY}:python-3", "no digest"),
        (REPOSITORY, "another registry"),
        (f"{REPOSITORY}:a@sha256:12", "no digest"),
    ],
)
def test_every_other_one_is_refused_with_the_place_to_push_it_to(image, said):
    (problem,) = problems(image)
    assert problem.startswith("part copy: ")
    assert said in problem
    assert REPOSITORY in problem


def test_a_dockerfile_is_not_built_by_judges():
    (problem,) = problems(REPOSITORY + DIGEST, Dockerfile=b"FROM scratch")
    assert "Dockerfile cannot be built" in problem


def test_nothing_is_stored_of_an_assignment_that_is_refused():
    config = load_config({"STAGE": "local", "GRADER_IMAGES": REPOSITORY})
    kept = {"table": None, "files": None, "judging": None}
    assignments = Assignments(**kept, config=config, now=lambda: 1.0)
    files = {"grader.toml": GRADER.encode(), "1.in": b"1"}
    found = parse_assignment(files, "copy")
    with pytest.raises(BadRequestError, match="names no image"):
        assignments.put("copy", found, files, caller=None, audit=None, callback_base_url="")


@pytest.mark.parametrize(
    ("text", "more", "needs"),
    [
        (GRADER, {}, False),
        (f'image = "gcc:14"\n{GRADER}', {}, True),
        (GRADER, {"Dockerfile": b"FROM scratch"}, True),
        ('kind = "image"\nfiles = ["main.py"]\n', {}, True),
    ],
)
def test_what_brings_an_image_is_prepared(text, more, needs):
    files = {"grader.toml": text.encode(), "1.in": b"1", **more}
    assert needs_preparation(parse_assignment(files, "copy")) is needs
