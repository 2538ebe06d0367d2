from datetime import date
from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from local.feed.listings import CLOSED, MOST_OPEN, demo_records, demo_updates

FIELDS = [
    "id", "date", "suburb", "address", "type", "rooms", "bathrooms", "carSpaces", "landSize",
    "price", "status", "postcode", "latitude", "longitude",
]  # fmt: skip
seeds = st.integers(0, 2**32)


@given(seeds)
def test_the_same_seed_gives_the_same_updates(seed):
    assert demo_records(50, seed) == list(islice(demo_updates(seed), 50))


def test_another_seed_gives_others():
    assert demo_records(50, 1) != demo_records(50, 2)


@given(seeds)
def test_updates_are_plausible(seed):
    before = date.min
    for update in demo_records(300, seed):
        assert list(update) == FIELDS
        assert date.fromisoformat(update["date"]) >= before
        before = date.fromisoformat(update["date"])
        assert 1 <= update["bathrooms"] <= update["rooms"] <= 6
        assert 50_000 <= update["price"] < 20_000_000
        assert update["price"] % 5_000 == 0
        assert abs(update["latitude"] + 41.2) < 0.4
        assert abs(update["longitude"] - 174.9) < 0.5


@settings(max_examples=15)
@given(seeds)
def test_listings_live_and_end(seed):
    last: dict[str, dict] = {}
    for update in demo_records(3000, seed):
        known = last.get(update["id"])
        if known is None:
            assert update["status"] == "new"
        else:
            assert known["status"] not in CLOSED
            fixed = ("suburb", "address", "type", "rooms", "latitude", "longitude")
            assert [known[name] for name in fixed] == [update[name] for name in fixed]
            assert (known["status"], known["price"]) != (update["status"], update["price"])
            if update["status"] == "sold":
                assert known["status"] == "under offer"
        last[update["id"]] = update
    assert {update["status"] for update in last.values()} >= {"new", "under offer", "sold"}
    open_listings = [update for update in last.values() if update["status"] not in CLOSED]
    assert len(open_listings) <= MOST_OPEN


def test_the_market_neither_dries_up_nor_overflows():
    later = list(islice(demo_updates(3), 20_000, 21_000))
    assert {update["status"] for update in later} == {
        "new", "price change", "under offer", "sold", "withdrawn",
    }  # fmt: skip
