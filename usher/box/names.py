"""Names that command lines and boxes have in common."""

RUNTIMES = ("docker", "bubblewrap")
"""The runtimes that make boxes, in order of preference."""
BASE_VARIABLE = "USHER_BASE_IMAGE"
"""The environment variable with the image for graders that name none."""
