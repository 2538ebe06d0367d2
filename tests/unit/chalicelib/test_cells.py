"""The cell picker: even, stable, and moves no owner without need."""

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.capacity.cells import Cell, CellState, decide_cell, rank_cells

NAMES = st.lists(st.text("abcdef0123456789", min_size=1), min_size=2, max_size=12, unique=True)
USERS = [f"user-{number}" for number in range(300)]


def cells_of(names: list[str]) -> list[Cell]:
    return [Cell(name) for name in names]


def homes(cells: list[Cell]) -> dict[str, str | None]:
    return {
        user: None if (cell := decide_cell(user, cells)) is None else cell.name for user in USERS
    }


def with_state(cells: list[Cell], name: str, state: CellState) -> list[Cell]:
    return [replace(cell, state=state) if cell.name == name else cell for cell in cells]


@given(NAMES, st.randoms())
def test_the_order_of_the_cells_makes_no_difference(names, chance):
    cells = cells_of(names)
    before = homes(cells)
    chance.shuffle(cells)
    assert homes(cells) == before


@given(NAMES, st.data())
def test_only_the_users_of_a_lost_or_draining_cell_move(names, data):
    cells, gone = cells_of(names), data.draw(st.sampled_from(names))
    state = data.draw(st.sampled_from([CellState.LOST, CellState.DRAINING]))
    before, after = homes(cells), homes(with_state(cells, gone, state))
    assert gone not in after.values()
    assert all(after[user] == before[user] for user in USERS if before[user] != gone)


@given(NAMES, st.data())
def test_a_new_cell_takes_users_and_moves_none_between_the_others(names, data):
    new = data.draw(st.sampled_from(names))
    before = homes([cell for cell in cells_of(names) if cell.name != new])
    after = homes(cells_of(names))
    assert all(after[user] in {before[user], new} for user in USERS)


@given(NAMES, st.data())
def test_a_cell_that_gets_heavier_only_gains(names, data):
    cells, heavier = cells_of(names), data.draw(st.sampled_from(names))
    weight = data.draw(st.floats(1.0, 10.0))
    grown = [replace(cell, weight=weight) if cell.name == heavier else cell for cell in cells]
    before, after = homes(cells), homes(grown)
    assert all(after[user] in {before[user], heavier} for user in USERS)


@given(NAMES, st.data())
def test_who_is_refused_tries_the_cell_that_would_be_theirs_without_the_first(names, data):
    cells, user = cells_of(names), data.draw(st.sampled_from(USERS))
    first, second, *_ = rank_cells(user, cells)
    assert decide_cell(user, with_state(cells, first.name, CellState.LOST)) == second


@given(NAMES, st.data())
def test_a_live_session_keeps_its_user_until_its_cell_is_lost(names, data):
    cells, user = cells_of(names), data.draw(st.sampled_from(USERS))
    current = data.draw(st.sampled_from(names))
    draining = with_state(cells, current, CellState.DRAINING)
    lost = with_state(cells, current, CellState.LOST)
    kept = decide_cell(user, draining, current)
    assert kept is not None
    assert kept.name == current
    assert decide_cell(user, lost, current) == decide_cell(user, lost)


def test_users_are_spread_by_weight():
    cells = [Cell("one", 1.0), Cell("two", 2.0), Cell("three", 1.0), Cell("none", 0.0)]
    users = [f"somebody-{number}" for number in range(20_000)]
    counts = Counter(cell.name for user in users if (cell := decide_cell(user, cells)))
    assert counts["none"] == 0
    # Four standard deviations of a binomial are 245 at a half, 212 at a quarter.
    assert abs(counts["two"] - 10_000) < 290
    assert abs(counts["one"] - 5_000) < 250
    assert abs(counts["three"] - 5_000) < 250


def test_twenty_even_cells_have_a_twentieth_each():
    """By 20,000 users: the standard deviation of a cell's share is then 3.1 % of it."""
    cells = [Cell(f"cell-{number:02}") for number in range(20)]
    counts = Counter(
        cell.name for n in range(20_000) if (cell := decide_cell(f"u{n}", cells)) is not None
    )
    assert max(counts.values()) < 1.125 * 1_000
    assert min(counts.values()) > 0.875 * 1_000


def test_without_an_open_cell_there_is_none():
    assert decide_cell("somebody", [Cell("one", state=CellState.DRAINING)]) is None
