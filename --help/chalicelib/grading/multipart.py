"""Bodies of the type multipart/form-data: parts with a name and a file name. Pure.

https://www.rfc-editor.org/rfc/rfc7578 and, for the syntax, https://www.rfc-editor.org/rfc/rfc2046
"""

import re
from dataclasses import dataclass

from chalicelib.errors import BadRequestError

MOST_FIELDS = 128
_MOST_HEADER_BYTES = 4_096
_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_PARAMETER = re.compile(r';\s*(name|filename)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class FormField:
    """One field. `filename` is None if it is not a file."""

    name: str
    filename: str | None
    data: bytes


def parse_multipart(content_type: str, body: bytes) -> list[FormField]:
    """The fields of a body. Raises BadRequestError."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise BadRequestError("multipart/form-data without a boundary")
    delimiter = b"\r\n--" + (found[1] or found[2]).encode("utf-8")
    pieces = (b"\r\n" + body).split(delimiter)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise BadRequestError("the body does not end with its boundary")
    if len(pieces) - 2 > MOST_FIELDS:
        raise BadRequestError(f"at most {MOST_FIELDS} fields")
    return [_field(piece) for piece in pieces[1:-1]]


def _field(piece: bytes) -> FormField:
    head, separator, data = piece.lstrip(b" \t").partition(b"\r\n\r\n")
    if not separator or not head.startswith(b"\r\n") or len(head) > _MOST_HEADER_BYTES:
        raise BadRequestError("a field without headers")
    try:
        lines = head.decode("utf-8").split("\r\n")
    except UnicodeDecodeError as error:
        raise BadRequestError("a field's headers are not UTF-8") from error
    for line in lines:
        header, _, value = line.partition(":")
        if header.strip().lower() == "content-transfer-encoding":
            raise BadRequestError("a field has a Content-Transfer-Encoding")
        if header.strip().lower() == "content-disposition":
            names = {key: _unquoted(text) for key, text in _PARAMETER.findall(value)}
            if "name" in names:
                return FormField(names["name"], names.get("filename"), data)
    raise BadRequestError("a field without a name")


def _unquoted(text: str) -> str:
    """Undo the escapes of browsers: %22 for a quotation mark, %0D and %0A for line ends.

    https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data
    """
    text = re.sub(r'\\(["\\])', r"\1", text)
    return text.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")
