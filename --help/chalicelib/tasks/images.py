"""Permitted image names in registrations of jobs and apps. Pure."""

from chalicelib.errors import BadRequestError

FOLDER = "dir:"
"""Prefix of an image that the embedded cloud builds from a directory."""


def check_image(image: str, *, is_local: bool) -> None:
    """Raises BadRequestError for an image name that this deployment does not permit."""
    if image.startswith(FOLDER):
        # A path, which may have spaces and other special characters.
        if not is_local:
            raise BadRequestError("image: only the local cloud builds from a folder; push an image")
    elif not image or len(image) > 255 or any(char.isspace() for char in image):
        raise BadRequestError("image: the name of an image, at most 255 characters, no blanks")
