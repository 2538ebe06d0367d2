"""Compares a program's output with the expected answer. Pure.

Works on bytes: a program may print anything. Messages quote the output, so they are for visible
cases only.
"""

import math
from dataclasses import dataclass

from usher.grading.verdicts import Verdict

_SHOWN = 40


@dataclass(frozen=True)
class Checked:
    """A checker's result. `fraction` of the case's points, None for all or nothing."""

    verdict: Verdict
    message: str = ""
    points: float | None = None


RIGHT = Checked(Verdict.AC)


def check_exact(output: bytes, answer: bytes) -> Checked:
    """Byte by byte. If only white space differs, the verdict is a wrong format, not a wrong
    answer.
    """
    if output == answer:
        return RIGHT
    if output.split() == answer.split():
        return Checked(Verdict.PE, "only white space differs from the expected output")
    return _first_difference(output.split(), answer.split())


def check_lines(output: bytes, answer: bytes) -> Checked:
    """Line by line; blanks at the ends of lines and empty lines at the end are ignored."""
    found, wanted = _lines(output), _lines(answer)
    for number, (left, right) in enumerate(zip(found, wanted, strict=False), 1):
        if left != right:
            return Checked(
                Verdict.WA, f"line {number}: expected {_quote(right)}, found {_quote(left)}"
            )
    return _same_count(len(found), len(wanted), "line")


def check_tokens(output: bytes, answer: bytes) -> Checked:
    """Word by word; any white space separates words."""
    found, wanted = output.split(), answer.split()
    return RIGHT if found == wanted else _first_difference(found, wanted)


def check_float(output: bytes, answer: bytes, tolerance: float) -> Checked:
    """Word by word; numbers may differ by `tolerance`, absolutely or relatively."""
    found, wanted = output.split(), answer.split()
    for number, (left, right) in enumerate(zip(found, wanted, strict=False), 1):
        if left != right and not _is_near(left, right, tolerance):
            return _differs(number, left, right)
    return _same_count(len(found), len(wanted), "word")


def _is_near(left: bytes, right: bytes, tolerance: float) -> bool:
    found, wanted = _number(left), _number(right)
    if found is None or wanted is None:
        return False
    difference = abs(found - wanted)
    return difference <= tolerance or difference <= tolerance * abs(wanted)


def _number(word: bytes) -> float | None:
    """Only formats of all languages: no underscores, no infinities, no NaN."""
    if b"_" in word:
        return None
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _lines(text: bytes) -> list[bytes]:
    lines = [line.rstrip() for line in text.replace(b"\r\n", b"\n").split(b"\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _first_difference(found: list[bytes], wanted: list[bytes]) -> Checked:
    for number, (left, right) in enumerate(zip(found, wanted, strict=False), 1):
        if left != right:
            return _differs(number, left, right)
    return _same_count(len(found), len(wanted), "word")


def _differs(number: int, left: bytes, right: bytes) -> Checked:
    return Checked(Verdict.WA, f"word {number}: expected {_quote(right)}, found {_quote(left)}")


def _same_count(found: int, wanted: int, unit: str) -> Checked:
    if found == wanted:
        return RIGHT
    return Checked(Verdict.WA, f"expected {wanted} {unit}{'s' * (wanted != 1)}, found {found}")


def _quote(word: bytes) -> str:
    text = word.decode(errors="replace")
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return '"' + "".join(char if char.isprintable() else "�" for char in shown) + '"'
