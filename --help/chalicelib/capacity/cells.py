"""Assigns users to cells by weighted rendezvous hashing. Pure.

A cell is a complete deployment in its own account and region; cells share nothing. For each user
every cell has a score, and the user belongs to the open cell with the highest score. All processes
that know the cells therefore choose the same one without communication, and a change of the cells
moves only users that have to move. Logarithmic method of "Weighted distributed hash tables"
(Schindelhauer and Schomaker, 2005).
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class CellState(StrEnum):
    """Whether a cell accepts users."""

    OPEN = "open"
    DRAINING = "draining"
    """It keeps its users and accepts no new ones."""
    LOST = "lost"
    """It is unreachable; its sessions are lost."""


@dataclass(frozen=True)
class Cell:
    """A deployment. `weight` is its share of users relative to other cells."""

    name: str
    weight: float = 1.0
    state: CellState = CellState.OPEN


def rank_cells(user: str, cells: Iterable[Cell]) -> list[Cell]:
    """The open cells in the order in which this user tries them.

    The second one is for users whom the first refuses for lack of capacity.
    """
    open_cells = [c for c in cells if c.state is CellState.OPEN and c.weight > 0]
    return sorted(open_cells, key=lambda cell: (-_score(user, cell), cell.name))


def decide_cell(user: str, cells: Sequence[Cell], current: str | None = None) -> Cell | None:
    """The cell of a user; None if no cell is open.

    `current` is the cell of the user's live session: the user stays there, also while the cell
    drains, and moves if it is lost.
    """
    for cell in cells:
        if cell.name == current and cell.state is not CellState.LOST:
            return cell
    return next(iter(rank_cells(user, cells)), None)


def _score(user: str, cell: Cell) -> float:
    digest = hashlib.sha256(f"{cell.name}\0{user}".encode()).digest()
    part = (int.from_bytes(digest[:8], "big") + 0.5) / 2**64  # strictly between 0 and 1
    return -cell.weight / math.log(part)
