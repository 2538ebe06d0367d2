"""Takes a Dockerfile's instructions apart into words, as the builder does."""

import re
from collections.abc import Mapping

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BRACED = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?::([-+])([^}]*))?\}")


class BadLineError(Exception):
    """The error in the current instruction, or in the one at `line`."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def split_tokens(text: str, variables: Mapping[str, str]) -> list[str]:
    """Words as the builder sees them: quotes and backslashes taken away, $variables filled in.

    What a variable holds is never split again. Raises BadLineError for a quote without its end.
    """
    tokens: list[str] = []
    word: list[str] | None = None
    at = 0
    while at < len(text):
        if text[at].isspace():
            if word is not None:
                tokens.append("".join(word))
            word = None
            at += 1
            continue
        piece, at = _piece(text, at, variables)
        word = [*(word or []), piece]
    if word is not None:
        tokens.append("".join(word))
    return tokens


def as_one_word(text: str, variables: Mapping[str, str]) -> str:
    pieces: list[str] = []
    at = 0
    while at < len(text):
        piece, at = _piece(text, at, variables)
        pieces.append(piece)
    return "".join(pieces)


def _piece(text: str, at: int, variables: Mapping[str, str]) -> tuple[str, int]:
    """One character, escape, quotation or variable at `at`, and where the next one begins."""
    char = text[at]
    if char == "'":
        end = text.find("'", at + 1)
        if end < 0:
            raise BadLineError("a single quote has no end")
        return text[at + 1 : end], end + 1
    if char == '"':
        return _double_quoted(text, at + 1, variables)
    if char == "\\" and at + 1 < len(text):
        return text[at + 1], at + 2
    if char == "$":
        return _variable(text, at + 1, variables)
    return char, at + 1


def _double_quoted(text: str, at: int, variables: Mapping[str, str]) -> tuple[str, int]:
    pieces: list[str] = []
    while at < len(text):
        char = text[at]
        if char == '"':
            return "".join(pieces), at + 1
        if char == "\\" and at + 1 < len(text) and text[at + 1] in '"$\\':
            piece, at = text[at + 1], at + 2
        elif char == "$":
            piece, at = _variable(text, at + 1, variables)
        else:
            piece, at = char, at + 1
        pieces.append(piece)
    raise BadLineError("a double quote has no end")


def _variable(text: str, at: int, variables: Mapping[str, str]) -> tuple[str, int]:
    """Fill in `$name`, `${name}`, `${name:-if empty}` or `${name:+if not}`; unknown means empty."""
    if plain := NAME.match(text, at):
        return variables.get(plain[0], ""), plain.end()
    if braced := _BRACED.match(text, at):
        value = variables.get(braced[1], "")
        other = as_one_word(braced[3], variables) if braced[3] else ""
        if braced[2] == "-":
            value = value or other
        elif braced[2] == "+":
            value = other if value else ""
        return value, braced.end()
    if text[at : at + 1] == "{":
        raise BadLineError(f"cannot fill in ${text[at:]}")
    return "$", at
