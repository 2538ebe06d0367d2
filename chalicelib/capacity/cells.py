"""Which cell a user's sessions run in: rendezvous hashing with weights. Pure.

A cell is a whole deployment, in an account and region of its own; cells share nothing. Each cell
has a score for each user, and the open cell with the highest one gets the user. So all who know the
cells pick the same one without asking anybody, and where a cell comes, drains or is lost, only the
users move that have to: those it gains or had. Method and weights: "Weighted distributed hash
tables" (Schindelhauer and Schomaker, 2005), the logarithmic method.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class CellState(StrEnum):
    """Whether a cell takes users."""

    OPEN = "open"
    DRAINING = "draining"
    """It keeps its users and takes no new ones."""
    LOST = "lost"
    """It is out of reach, with all that was in it."""


@dataclass(frozen=True)
class Cell:
    """A deployment. `weight` is its share of the users, relative to those of the others."""

    name: str
    weight: float = 1.0
    state: CellState = CellState.OPEN


def rank_cells(user: str, cells: Iterable[Cell]) -> list[Cell]:
    """The open cells in the order in which this user is to try them.

    The second takes a user whom the first refuses for want of room.
    """
    open_cells = [c for c in cells if c.state is CellState.OPEN and c.weight > 0]
    return sorted(open_cells, key=lambda cell: (-_score(user, cell), cell.name))


def decide_cell(user: str, cells: Sequence[Cell], current: str | None = None) -> Cell | None:
    """The cell of a user; None where no cell is open.

    `current` names the cell in which the user has a live session: it is kept, also while that cell
    drains, and left when it is lost.
    """
    for cell in cells:
        if cell.name == current and cell.state is not CellState.LOST:
            return cell
    return next(iter(rank_cells(user, cells)), None)


def _score(user: str, cell: Cell) -> float:
    digest = hashlib.sha256(f"{cell.name}\0{user}".encode()).digest()
    part = (int.from_bytes(digest[:8], "big") + 0.5) / 2**64  # strictly between 0 and 1
    return -cell.weight / math.log(part)
