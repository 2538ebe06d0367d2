"""Each user sees their own part of the map."""

import pytest
from listing_map import ListingMap

from usher.testing import open_session

FAR = {"latitude": -37.9, "longitude": 145.2, "price": 400_000}
NEAR = {"latitude": -37.8, "longitude": 145.0, "price": 900_000}
NOWHERE = {"price": 1}


def test_everything_comes_until_somebody_asks_for_a_part():
    with open_session(ListingMap()) as session:
        session.put(FAR, NEAR, NOWHERE, "no listing")
        assert session.records() == [FAR, NEAR, NOWHERE, "no listing"]
        session.send({"area": [-37.85, 144.9, -37.7, 145.1]})
        assert session.messages() == [{"area": [-37.85, 144.9, -37.7, 145.1], "maxPrice": None}]
        session.put(FAR, NEAR, NOWHERE, "no listing")
        assert session.records() == [NEAR]
        session.send({"maxPrice": 500_000})
        session.put(FAR, NEAR, {"price": None}, {"price": True})
        assert session.records() == [FAR]


def test_what_was_shown_is_summed_up():
    with open_session(ListingMap()) as session:
        session.put(FAR, NEAR)
        summary = {"seen": 2, "shown": 2, "meanPrice": 650_000}
        assert session.wait_for_message() == {"summary": summary}
        session.pass_time(1.2)
        assert session.messages() == []  # nothing changed


@pytest.mark.parametrize(
    "message",
    [{"area": [1, 2, 3]}, {"area": ["a", 1, 2, 3]}, {"area": 1}, {"maxPrice": "x"}],
)
def test_what_cannot_be_meant_changes_nothing(message):
    with open_session(ListingMap()) as session:
        session.send(message)
        assert "error" in session.messages()[0]
        session.put(FAR)
        assert session.records() == [FAR]
