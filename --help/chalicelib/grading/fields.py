"""Inputs of requests about assignments and submissions. Pure.

Views are declared with these, so each cold start imports them; parsers of bodies are imported by
the views that need them.
"""

from chalicelib.fields import Document, Field, page_size

MAX_BODY_BYTES = 5_900_000
"""Lambda accepts requests of 6 MB."""
MAX_MARK_BYTES = 128 * 1024
MAX_LIMIT = 50
MAX_LEARNER = 200

LIMIT = page_size(20, MAX_LIMIT)
NEXT = Field(
    "next", {"type": "string", "maxLength": 1024}, "as the page before said", "Of the page before."
)
LEARNER = Field(
    "learner",
    {"type": "string", "minLength": 1, "maxLength": MAX_LEARNER},
    f"1 to {MAX_LEARNER} printable characters",
    "Whose submissions; the author's and operators' to say.",
)
VIEW = Field(
    "view",
    {"type": "string", "enum": ["learner"]},
    "learner, or nothing",
    "`learner` shows authors and operators what the learner sees.",
)
PAGE = (LIMIT, NEXT)
LISTING = (LIMIT, NEXT, LEARNER)
_FILES = {"type": "object", "minProperties": 1}
ASSIGNMENT = Document(
    (
        Field("files", _FILES, "a file's text or base64 by its path", "Instead of an archive."),
        Field("archive", _FILES, 'a zip file: {"base64"}', "Instead of files."),
    ),
    MAX_BODY_BYTES,
)
MARK = Document(
    (
        Field(
            "grading",
            {"type": "string", "minLength": 1, "maxLength": 64},
            "the grading's id",
            is_required=True,
        ),
        Field("result", {"type": "object"}, "the judge's mark", is_required=True),
    ),
    MAX_MARK_BYTES,
)
SUBMISSION = Document(
    (
        Field(
            "parts",
            _FILES,
            '{"PART": {"files": {"NAME": "text" or {"base64"}}}}',
            "The files of each part.",
            is_required=True,
        ),
        Field(
            "learner",
            {"type": ["string", "null"], "minLength": 1, "maxLength": MAX_LEARNER},
            f"1 to {MAX_LEARNER} printable characters",
            "Whose it is; operators may say.",
        ),
    ),
    MAX_BODY_BYTES,
)
