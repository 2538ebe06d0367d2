"""Invented property listings: endless, plausible updates for developers without data.

Streets and suburbs are fictitious; the places lie around the harbour of Wellington, New Zealand, so
that a map of them shows a shape. Pure: the same seed gives the same updates.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from itertools import islice
from math import cos, pi, sin
from random import Random
from typing import Any

FIRST_DAY = date(2026, 1, 5)
UPDATES_A_DAY = 80
MOST_OPEN = 700
"""Listings on the market at once; beyond, old ones are sold before new ones appear."""

CLOSED = ("sold", "withdrawn")


@dataclass(frozen=True)
class Suburb:
    """An invented suburb: its middle, how far it spreads in degrees, what a room costs there."""

    name: str
    postcode: int
    latitude: float
    longitude: float
    spread: float
    price_each: int
    weight: int


SUBURBS = (
    Suburb("Lantern Quay", 6901, -41.2885, 174.7765, 0.0045, 265_000, 9),
    Suburb("Fernbank", 6902, -41.2840, 174.7400, 0.0075, 240_000, 8),
    Suburb("Tui Rise", 6903, -41.2690, 174.7640, 0.0060, 255_000, 6),
    Suburb("Southerly Bay", 6904, -41.3360, 174.7730, 0.0060, 230_000, 6),
    Suburb("Cobble Hill", 6905, -41.3120, 174.7800, 0.0065, 215_000, 7),
    Suburb("Halyard", 6906, -41.3160, 174.8160, 0.0085, 245_000, 7),
    Suburb("Rimu Heights", 6907, -41.2230, 174.8030, 0.0090, 190_000, 7),
    Suburb("Old Ropewalk", 6908, -41.2250, 174.8830, 0.0065, 205_000, 5),
    Suburb("Millrace", 6909, -41.2100, 174.9070, 0.0100, 175_000, 9),
    Suburb("Kettle Valley", 6910, -41.1780, 174.9600, 0.0100, 160_000, 6),
    Suburb("Penny Reach", 6911, -41.2440, 174.9150, 0.0045, 185_000, 4),
    Suburb("Lighthouse Road", 6912, -41.2880, 174.9010, 0.0040, 200_000, 3),
    Suburb("Gannet Flat", 6913, -41.1350, 174.8450, 0.0090, 155_000, 6),
    Suburb("Whitby Sands", 6914, -41.1130, 174.8850, 0.0080, 180_000, 5),
    Suburb("Upper Larch", 6915, -41.1260, 175.0580, 0.0110, 145_000, 6),
    Suburb("Saddleback", 6916, -41.2540, 174.7150, 0.0065, 195_000, 3),
)
STREETS = (
    "Beacon", "Bellbird", "Bracken", "Cabbage Tree", "Captain Moss", "Clay Pit", "Compass",
    "Cooper's", "Daybreak", "Driftwood", "Fantail", "Foundry", "Gorse", "Harvest Moon", "Ironsand",
    "Kelp", "Lamplighter", "Limekiln", "Magnolia", "Matchbox", "Northlight", "Orchard Wall",
    "Oystercatcher", "Pilot", "Quarryman", "Rainbird", "Ropemaker", "Salt Wind", "Signal",
    "Silver Fern", "Sorrel", "Spinnaker", "Tailor's", "Tidewater", "Umbrella", "Wagtail",
)  # fmt: skip
HOUSES = 180
EAST_STRETCH = 1.33  # a degree of longitude is that much shorter than one of latitude there
ENDINGS = ("St", "Rd", "Tce", "Ave", "Lane", "Cres", "Pl", "Way")
KINDS = (("house", 60, (2, 6)), ("unit", 25, (1, 3)), ("townhouse", 15, (2, 4)))


@dataclass(frozen=True)
class Street:
    """A straight line on the map: its middle, and how far it leads from end to end, in degrees."""

    name: str
    latitude: float
    longitude: float
    northwards: float
    eastwards: float

    def place(self, house: int) -> tuple[float, float]:
        """Latitude and longitude of a house; numbers run along the street."""
        along = house / HOUSES - 0.5
        latitude = self.latitude + along * self.northwards
        longitude = self.longitude + along * self.eastwards
        return round(latitude, 5), round(longitude, 5)


@cache
def _streets(suburb: Suburb) -> list[Street]:
    """The streets of the suburb: they follow or cross its grain, and never change."""
    rng = Random(suburb.name)
    grain = rng.uniform(0, pi)
    names = rng.sample(STREETS, min(len(STREETS), 4 * suburb.weight))
    return [_new_street(f"{name} {rng.choice(ENDINGS)}", suburb, grain, rng) for name in names]


def _new_street(name: str, suburb: Suburb, grain: float, rng: Random) -> Street:
    direction = grain + rng.choice((0, pi / 2)) + rng.gauss(0, 0.12)
    length = suburb.spread * rng.uniform(0.7, 2.4)
    return Street(
        name=name,
        latitude=rng.gauss(suburb.latitude, suburb.spread),
        longitude=rng.gauss(suburb.longitude, suburb.spread * EAST_STRETCH),
        northwards=length * sin(direction),
        eastwards=length * cos(direction) * EAST_STRETCH,
    )


@dataclass(frozen=True)
class Listing:
    """One property on the market; price in dollars, land in square metres."""

    id: str
    date: date
    suburb: Suburb
    address: str
    kind: str
    rooms: int
    bathrooms: int
    car_spaces: int
    land_size: int | None
    price: int
    status: str
    latitude: float
    longitude: float

    def to_record(self) -> dict[str, Any]:
        """The update as it is put into the stream."""
        return {
            "id": self.id,
            "date": self.date.isoformat(),
            "suburb": self.suburb.name,
            "address": self.address,
            "type": self.kind,
            "rooms": self.rooms,
            "bathrooms": self.bathrooms,
            "carSpaces": self.car_spaces,
            "landSize": self.land_size,
            "price": self.price,
            "status": self.status,
            "postcode": self.suburb.postcode,
            "latitude": self.latitude,
            "longitude": self.longitude,
        }


def demo_updates(seed: int) -> Iterator[dict[str, Any]]:
    """Updates without end: listings appear, change price, go under offer, are sold or withdrawn.

    An update repeats all fields of its listing; the last one is sold or withdrawn.
    """
    rng = Random(seed)
    market: list[Listing] = []
    listed = 0
    updates = 0
    while True:
        today = FIRST_DAY + timedelta(days=updates // UPDATES_A_DAY)
        if _lists_new(len(market), rng):
            listed += 1
            listing = _new_listing(f"demo-{listed:06}", today, rng)
            market.append(listing)
        else:
            index = rng.randrange(len(market))
            listing = replace(_next_turn(market[index], rng), date=today)
            if listing.status in CLOSED:
                market[index] = market[-1]
                market.pop()
            else:
                market[index] = listing
        updates += 1
        yield listing.to_record()


def demo_records(n: int, seed: int) -> list[dict[str, Any]]:
    """The first `n` updates, for tests without a file of real ones."""
    return list(islice(demo_updates(seed), n))


def _lists_new(open_listings: int, rng: Random) -> bool:
    if open_listings == 0:
        return True
    return rng.random() < 0.9 * (1 - open_listings / MOST_OPEN) + 0.05 * (open_listings < MOST_OPEN)


def _new_listing(listing_id: str, today: date, rng: Random) -> Listing:
    suburb = rng.choices(SUBURBS, [each.weight for each in SUBURBS])[0]
    kind, _, (fewest, most) = rng.choices(KINDS, [weight for _, weight, _ in KINDS])[0]
    rooms = rng.randint(fewest, most)
    street = rng.choice(_streets(suburb))
    house = rng.randint(1, HOUSES)
    number = f"{rng.randint(1, 24)}/{house}" if kind == "unit" else str(house)
    latitude, longitude = street.place(house)
    factor = {"house": 1.1, "unit": 0.85, "townhouse": 1.0}[kind] * rng.lognormvariate(0, 0.22)
    price = suburb.price_each * (rooms + 0.8) * factor
    return Listing(
        id=listing_id,
        date=today,
        suburb=suburb,
        address=f"{number} {street.name}",
        kind=kind,
        rooms=rooms,
        bathrooms=max(1, round(rooms * rng.uniform(0.3, 0.7))),
        car_spaces=rng.choices((0, 1, 2, 3), (2, 5, 4, 1))[0],
        land_size=None if kind == "unit" else round(rng.lognormvariate(6.1, 0.4)),
        price=_rounded(price),
        status="new",
        latitude=latitude,
        longitude=longitude,
    )


def _next_turn(listing: Listing, rng: Random) -> Listing:
    if listing.status == "under offer":
        if rng.random() < 0.85:
            return replace(listing, status="sold", price=_moved(listing.price, 0.97, 1.05, rng))
        return replace(listing, status="new")  # the offer fell through
    turn = rng.choices(("price change", "under offer", "withdrawn"), (45, 47, 8))[0]
    if turn == "price change":
        return replace(listing, status=turn, price=_moved(listing.price, 0.92, 1.02, rng))
    return replace(listing, status=turn)


def _moved(price: int, least: float, most: float, rng: Random) -> int:
    moved = _rounded(price * rng.uniform(least, most))
    return moved if moved != price else price - 5_000


def _rounded(price: float) -> int:
    return max(50_000, round(price / 5_000) * 5_000)
