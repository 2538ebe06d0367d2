"""An index's items while writes have not reached it."""

from hypothesis import given
from hypothesis import strategies as st

from local.aws.dynamodb.index_lag import Behind, IndexLag


def lagging(seconds, now):
    lag = IndexLag()
    lag.set(seconds, seed=1, now=lambda: now[0])
    return lag


def test_without_a_lag_nothing_is_held():
    assert not Behind(lagging(0.0, [0.0])).is_on


def test_a_write_is_shown_after_its_lag_and_not_before():
    now = [100.0]
    behind = Behind(lagging(10.0, now))
    behind.hold("a", None)
    assert behind.shown() == {"a": None}
    now[0] += 10.0
    assert behind.shown() == {}


def test_a_lag_that_is_switched_off_leaves_nothing_behind():
    lag = lagging(10.0, [100.0])
    behind = Behind(lag)
    behind.hold("a", "before")
    lag.set(0.0)
    assert behind.shown() == {}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 3)), max_size=20))
def test_an_index_never_goes_back_and_is_never_later_than_the_longest_lag(writes):
    now = [0.0]
    behind = Behind(lagging(2.0, now))
    history = {"a": [(-9.0, 0)], "b": [(-9.0, 0)]}
    seen = {"a": 0, "b": 0}
    for key, pause in writes:
        now[0] += pause
        newest = history[key][-1][1]
        behind.hold(key, newest)
        history[key].append((now[0], newest + 1))
        shown = behind.shown()
        for each, versions in history.items():
            visible = shown.get(each, versions[-1][1])
            latest_due = max(number for at, number in versions if at <= now[0] - 2.0)
            assert max(seen[each], latest_due) <= visible
            seen[each] = visible
