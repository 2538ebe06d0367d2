"""The table of promises, and docs/verified.md. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conformance.promises import Outcome, Promise, Result

NOT_YET = "not yet run"


@dataclass(frozen=True)
class Column:
    """The results at one place."""

    head: str
    """The place, the time and the versions."""
    cells: Mapping[str, str]
    """Results by the promise's name."""


EMPTY = Column(NOT_YET, {})


def column(head: str, results: Sequence[Result]) -> Column:
    """The column of a run."""
    return Column(head, {result.name: _cell(result) for result in results})


def _cell(result: Result) -> str:
    detail = " ".join(result.detail.replace("|", "/").split())[:160].strip()
    cell = "**broken**" if result.outcome is Outcome.BROKEN else str(result.outcome)
    return f"{cell}: {detail or 'nothing was said'}"


def document(promises: Sequence[Promise], here: Column, there: Column, by_hand: str = "") -> str:
    """All of docs/verified.md; `by_hand` is the hand-written part after the table."""
    rows = [
        f"| {promise.statement} (`{promise.name}`) | {here.cells.get(promise.name, NOT_YET)} "
        f"| {there.cells.get(promise.name, NOT_YET)} |"
        for promise in promises
    ]
    return "\n".join(
        [
            "# What was verified, and where",
            "",
            "Written by `make conformance` (on the embedded cloud) and `make conformance",
            "TARGET=aws` (on a throw-away stage of an AWS account), each of which fills its own",
            "column. A cell says what was seen, or why the place cannot show it.",
            "",
            f"- Embedded cloud: {here.head}",
            f"- AWS: {there.head}",
            "",
            "| promise | embedded cloud | AWS |",
            "|---|---|---|",
            *rows,
            "",
        ]
    ) + (f"\n{by_hand}" if by_hand else "")


def read_by_hand(text: str) -> str:
    """The part after the table: from the first heading of a section on."""
    _, found, rest = text.partition("\n## ")
    return f"## {rest}" if found else ""


def read_columns(text: str) -> tuple[Column, Column]:
    """The two columns of a document that `document` wrote; empty ones of anything else."""
    heads = {"Embedded cloud": NOT_YET, "AWS": NOT_YET}
    cells: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for line in text.splitlines():
        if line.startswith("- ") and ": " in line:
            place, _, head = line[2:].partition(": ")
            if place in heads:
                heads[place] = head
        parts = [part.strip() for part in line.strip().strip("|").split(" | ")]
        if len(parts) == 3 and parts[0].endswith("`)"):
            name = parts[0].rpartition("(`")[2].removesuffix("`)")
            for found, cell in zip(cells, parts[1:], strict=True):
                if cell != NOT_YET:
                    found[name] = cell
    return Column(heads["Embedded cloud"], cells[0]), Column(heads["AWS"], cells[1])


def table(promises: Sequence[Promise], here: Column, there: Column) -> str:
    """The same for a terminal."""
    width = max(len(promise.name) for promise in promises)
    lines = [f"{'promise':{width}}  embedded cloud / AWS"]
    for promise in promises:
        lines.append(f"{promise.name:{width}}  {here.cells.get(promise.name, NOT_YET)}")
        lines.append(f"{'':{width}}  {there.cells.get(promise.name, NOT_YET)}")
    return "\n".join(lines)
