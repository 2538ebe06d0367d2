"""The shares of groups against a plain model: guarantees kept, nothing idle, no starvation."""

import heapq
from collections import Counter, deque
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from types import MappingProxyType

from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.capacity.fairness import next_turns, order_of
from chalicelib.capacity.groups import ALL, UNBOUNDED, Amount, Group, Groups, Tier, container
from chalicelib.capacity.shares import (
    Allowed,
    Denied,
    Standing,
    Why,
    decide_take,
    dominant_share,
    next_group,
)

ONE = container(1, 1)


def places(number: int) -> Amount:
    return Amount(number, UNBOUNDED, UNBOUNDED)


def of(cluster: int, *groups: Group) -> Groups:
    return Groups(places(cluster), groups[0].name, groups[0].name, {g.name: g for g in groups})


def group(name: str, guarantee: int = 0, **facts) -> Group:
    return Group(name, guarantee=Amount(guarantee), **facts)


def standings(
    taken: Mapping[str, int],
    waiting: Mapping[str, int],
    took_at: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, Standing]:
    return {
        name: Standing(
            Amount(number, number, number),
            ONE if waiting.get(name) else None,
            took_at.get(name, 0),
        )
        for name, number in taken.items()
    }


@st.composite
def clusters(draw) -> Groups:
    cluster = draw(st.integers(1, 30))
    left, made = cluster, []
    for number in range(draw(st.integers(1, 5))):
        guarantee = draw(st.integers(0, left))
        left -= guarantee
        maximum = draw(st.one_of(st.just(UNBOUNDED), st.integers(max(1, guarantee), cluster)))
        made.append(
            Group(
                f"g{number}",
                draw(st.sampled_from(Tier)),
                Amount(guarantee),
                places(maximum),
                draw(st.integers(1, 4)),
                lend=draw(st.booleans()),
            )
        )
    return of(cluster, *made)


def steps() -> st.SearchStrategy[list[tuple[str, int]]]:
    kinds = st.sampled_from(["ask", "ask", "ask", "end"])
    return st.lists(st.tuples(kinds, st.integers(0, 4)), max_size=60)


class Model:
    """Groups that ask for one place each time, and give one back."""

    def __init__(self, groups: Groups) -> None:
        self.groups = groups
        self.names = list(groups.by_name)
        self.taken = Counter(dict.fromkeys(self.names, 0))
        self.waiting = Counter(dict.fromkeys(self.names, 0))
        self.took_at = Counter(dict.fromkeys(self.names, 0))

    def start_all(self) -> list[str]:
        """Start what waits, one at a time, until none of those that wait may."""
        started = []
        while True:
            wanted = {name: ONE for name in self.names if self.waiting[name]}
            now = standings(self.taken, self.waiting, self.took_at)
            name = next_group(self.groups, now, wanted)
            if name is None:
                return started
            self.waiting[name] -= 1
            self.taken[name] += 1
            self.took_at[name] = max(self.took_at.values()) + 1
            started.append(name)

    def do(self, step: tuple[str, int]) -> None:
        kind, number = step
        name = self.names[number % len(self.names)]
        if kind == "ask":
            self.waiting[name] += 1
        elif self.taken[name]:
            self.taken[name] -= 1


@given(clusters(), steps())
def test_a_group_that_does_not_lend_gets_its_guarantee_whatever_others_do(
    groups: Groups, what: list[tuple[str, int]]
) -> None:
    model = Model(groups)
    for step in what:
        model.do(step)
        model.start_all()
        assert sum(model.taken.values()) <= groups.cluster.places
        for name, one in groups.by_name.items():
            assert model.taken[name] <= one.maximum.places
            if model.waiting[name] and not one.lend:
                assert model.taken[name] >= one.guarantee.places


@given(clusters(), steps())
def test_nothing_that_may_be_lent_is_idle_while_somebody_waits_who_may_have_it(
    groups: Groups, what: list[tuple[str, int]]
) -> None:
    model = Model(groups)
    for step in what:
        model.do(step)
        model.start_all()
        kept = {
            name: max(model.taken[name], 0 if one.lend else one.guarantee.places)
            for name, one in groups.by_name.items()
        }
        for name, one in groups.by_name.items():
            if not model.waiting[name] or model.taken[name] >= one.maximum.places:
                continue
            others = sum(kept.values()) - kept[name]
            assert model.taken[name] + others >= groups.cluster.places


@given(clusters(), steps())
def test_who_has_lent_gets_the_next_places_until_it_has_its_guarantee(
    groups: Groups, what: list[tuple[str, int]]
) -> None:
    model = Model(groups)
    for step in what:
        model.do(step)
        before = model.taken.copy()
        short = {
            name
            for name, one in groups.by_name.items()
            if one.lend and model.waiting[name] and model.taken[name] < one.guarantee.places
        }
        model.start_all()
        still = {n for n in short if model.waiting[n] and model.taken[n] < _guarantee(groups, n)}
        if still:
            for name in groups.by_name:
                assert model.taken[name] <= max(before[name], _guarantee(groups, name))


def _guarantee(groups: Groups, name: str) -> int:
    return groups.by_name[name].guarantee.places


@given(clusters(), st.lists(st.integers(0, 4), max_size=60))
def test_weights_are_met_within_one_place(groups: Groups, ends: list[int]) -> None:
    """All request more than there is; a freed place goes to the group with the least."""
    model = Model(groups)
    for name in model.names:
        model.waiting[name] = 1_000
    model.start_all()
    for number in [*ends, None]:
        _check_weights(model)
        if number is not None:
            model.do(("end", number))
            model.start_all()


def _check_weights(model: Model) -> None:
    """If two groups want more, none has borrowed more than its part plus one place.

    An end can leave a group with less than its part; it is the next one to get more.
    """
    groups = model.groups
    for tier in Tier:
        wanting = [
            one
            for name, one in groups.by_name.items()
            if one.tier is tier and model.taken[name] < one.maximum.places
        ]
        for one in wanting:
            for other in wanting:
                beyond = model.taken[one.name] - one.guarantee.places
                least = max(0, model.taken[other.name] - other.guarantee.places)
                assert (beyond - 1) * other.weight <= least * one.weight


@settings(max_examples=40)
@given(clusters())
def test_nobody_of_a_tier_starves(groups: Groups) -> None:
    """Runs end, the oldest first: each waiting group gets a place, a flex one where no critical one
    wants more.
    """
    model = Model(groups)
    wanting = {n for n, g in groups.by_name.items() if g.tier is Tier.FLEX} or set(model.names)
    for name in wanting:
        model.waiting[name] = 10_000
    running = deque(model.start_all())
    got = Counter(running)
    for _ in range(4 * len(running)):
        model.taken[running.popleft()] -= 1
        started = model.start_all()
        running.extend(started)
        got.update(started)
    kept = {n: g.guarantee.places for n, g in groups.by_name.items() if not g.lend or n in wanting}
    lendable = groups.cluster.places - sum(kept.values())
    for name in wanting:
        if lendable or kept.get(name):
            assert got[name], f"{name} got nothing"


@given(clusters(), st.lists(st.integers(0, 12), min_size=5, max_size=5), st.integers(0, 4))
def test_what_is_allowed_stays_so_while_no_count_passes_its_bound(
    groups: Groups, numbers: list[int], which: int
) -> None:
    """The bounds are the condition of the write: what was seen may have changed by then."""
    names = list(groups.by_name)
    taken = dict(zip(names, numbers, strict=False))
    name = names[which % len(names)]
    found = decide_take(groups, standings(taken, {}), name, ONE)
    if isinstance(found, Denied):
        return
    most = {name: found.own_at_most.places} | {
        other: amount.places for other, amount in found.others_at_most.items()
    }
    at_most = {n: min(most.get(n, taken[n]), groups.cluster.places) for n in names}
    assert all(taken[n] <= most[n] for n in most)
    again = decide_take(groups, standings(at_most, {}), name, ONE)
    assert isinstance(again, Allowed), "at the bounds it is allowed too"
    over = at_most | {name: at_most[name] + 1}
    within = groups.by_name[name].guarantee.places > at_most[name]
    if not within or groups.by_name[name].lend:
        assert isinstance(decide_take(groups, standings(over, {}), name, ONE), Denied)


def test_critical_borrows_before_flex() -> None:
    groups = of(10, group("a", 2), group("b", 2, tier=Tier.CRITICAL, lend=False))
    model = Model(groups)
    model.waiting = Counter({"a": 100, "b": 100})
    model.start_all()
    assert model.taken == {"a": 2, "b": 8}


def test_a_borrower_stands_behind_who_waits_with_the_better_right() -> None:
    groups = of(10, group("a"), group("b", tier=Tier.CRITICAL))
    now = {"a": Standing(Amount(3)), "b": Standing(Amount(1), waits=ONE)}
    assert decide_take(groups, now, "a", ONE) == Denied(Why.OTHERS_FIRST, "b")
    assert isinstance(decide_take(groups, now, "b", ONE), Allowed)


def test_one_that_waits_at_its_maximum_holds_nobody_up() -> None:
    groups = of(10, group("a"), group("b", maximum=places(1), tier=Tier.CRITICAL))
    now = {"a": Standing(Amount(3)), "b": Standing(Amount(1), waits=ONE)}
    assert isinstance(decide_take(groups, now, "a", ONE), Allowed)
    assert decide_take(groups, now, "b", ONE) == Denied(Why.AT_MAXIMUM)


def test_the_resource_of_which_a_group_has_most_decides() -> None:
    """The example of the paper: 9 CPUs and 18 GB; tasks of 1 CPU, 4 GB and of 3 CPUs, 1 GB."""
    cluster = Amount(UNBOUNDED, 9, 18)
    groups = Groups(cluster, "a", "a", {"a": Group("a"), "b": Group("b")})
    wanted = {"a": Amount(1, 1, 4), "b": Amount(1, 3, 1)}
    taken = {"a": Amount(), "b": Amount()}
    while True:
        now = {name: Standing(amount) for name, amount in taken.items()}
        name = next_group(groups, now, wanted)
        if name is None:
            break
        taken[name] += wanted[name]
    assert taken == {"a": Amount(3, 3, 12), "b": Amount(2, 6, 2)}
    shares = [dominant_share(groups, groups.of(name), taken[name]) for name in "ab"]
    assert shares == [Fraction(2, 3), Fraction(2, 3)]


def test_without_a_bound_everybody_may() -> None:
    groups = Groups(ALL, "a", "a", {"a": Group("a")})
    found = decide_take(groups, {}, "a", container(10**6, 10**6))
    assert isinstance(found, Allowed)
    assert all(low < high for low, high in pairwise((0, found.own_at_most.places)))


def test_what_runs_in_a_group_that_is_gone_counts_for_the_cluster_until_it_ends() -> None:
    groups = of(10, group("batch"))
    running = standings({"batch": 4, "gone": 6}, {})
    assert decide_take(groups, running, "batch", ONE) == Denied(Why.NO_CAPACITY)
    allowed = decide_take(groups, standings({"batch": 4, "gone": 5}, {}), "batch", ONE)
    assert isinstance(allowed, Allowed)
    assert allowed.others_at_most == {"gone": Amount(5, 5, 5)}


def test_2000_jobs_and_200_sessions_of_three_groups_compete_in_virtual_time() -> None:
    groups = of(
        60,
        group("live", 20, tier=Tier.CRITICAL, lend=False),
        group("reports", 15, weight=2),
        group("batch"),
    )
    waiting = Counter({"live": 0, "reports": 1_000, "batch": 1_000})
    taken, started = Counter(dict.fromkeys(waiting, 0)), Counter[str]()
    ends: list[tuple[int, str]] = []
    for now in range(10_000):
        waiting["live"] += now < 200
        while ends and ends[0][0] <= now:
            taken[heapq.heappop(ends)[1]] -= 1
        wanted = {name: ONE for name, number in waiting.items() if number}
        while (name := next_group(groups, standings(taken, waiting), wanted)) is not None:
            is_owed = waiting["reports"] and taken["reports"] < 15
            assert name != "batch" or not is_owed, "lent capacity comes back first"
            taken[name] += 1
            waiting[name] -= 1
            started[name] += 1
            heapq.heappush(ends, (now + 5 + started[name] * 7 % 36, name))
            wanted = {each: ONE for each, number in waiting.items() if number}
        assert taken.total() <= 60
        assert taken["reports"] + taken["batch"] <= 40, "the guarantee of sessions is kept"
        assert not waiting["live"] or taken["live"] >= 20, "a session starts in its guarantee"
        if not waiting.total():
            break
    assert started == {"live": 200, "reports": 1_000, "batch": 1_000}


def test_one_run_behind_5000_of_another_owner_starts_third_at_the_latest() -> None:
    for running in range(20):
        turns = next_turns(0, None, 5_000)
        clock = turns[running - 1] if running else 0
        (own,) = next_turns(clock, None, 1)
        ahead = [turn for turn in turns[running:] if order_of(turn, 1) < order_of(own, 2)]
        assert len(ahead) <= 2
