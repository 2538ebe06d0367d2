"""The images that graders may use, and those that must be prepared first. Pure."""

import re

from chalicelib.contract.assignments import DOCKERFILE, AssignmentFiles, names_image

DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


def needs_preparation(found: AssignmentFiles) -> bool:
    """Whether a grader has an image of its own, which must be pinned and cleaned."""
    return any(names_image(part.grader, part.files) for part in found.parts.values())


def image_problems(found: AssignmentFiles, repository: str) -> list[str]:
    """Problems with the images of an assignment's graders, if they must be in one repository and
    pinned by digest; one entry for each part.
    """
    problems = []
    for part in found.parts.values():
        image = part.grader.image
        if DOCKERFILE in part.files:
            problem = "a Dockerfile cannot be built here"
        elif not image:
            problem = "names no image"
        elif not image.startswith((f"{repository}@", f"{repository}:")):
            problem = f"{image} is in another registry, which judges cannot reach"
        elif not DIGEST.search(image):
            problem = f"{image} has no digest (NAME@sha256:…)"
        else:
            continue
        problems.append(
            f"part {part.name}: {problem}; push the image to {repository} and name it by digest"
        )
    return problems
