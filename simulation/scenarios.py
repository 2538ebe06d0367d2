"""The events of a cell: the rate of visitors, and actions of AWS or an operator. Pure."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

HOUR = 3_600.0
MINUTE = 60.0
Load = Callable[[float], float]
"""Arrivals of an instant (seconds since the beginning), in parts of the usual rate."""


def steady(_: float) -> float:
    """The usual rate."""
    return 1.0


def diurnal(at: float) -> float:
    """A day: a fifth of the peak at four in the morning, the peak in the evening; 1.0 is the peak.

    The shape is that of residential traffic: two harmonics, as published for video services.
    """
    part = (_two_harmonics(at / HOUR % 24) - _LEAST) / (_MOST - _LEAST)
    return NIGHT + (1.0 - NIGHT) * part


def _two_harmonics(hour: float) -> float:
    first = math.cos((hour - 18.0) / 24 * 2 * math.pi)
    second = math.cos((hour - 20.5) / 12 * 2 * math.pi)
    return first + 0.3 * second


NIGHT = 0.2
_DAY = [_two_harmonics(minute / 60) for minute in range(24 * 60)]
_LEAST, _MOST = min(_DAY), max(_DAY)


def crowd(at: float, begins: float, peak: float, rises: float, fades: float) -> float:
    """A crowd on top of the usual rate: rises to `peak` within `rises`, and fades by half-lives."""
    if at < begins:
        return 1.0
    if at < begins + rises:
        return 1.0 + (peak - 1.0) * (at - begins) / rises
    return 1.0 + (peak - 1.0) * math.pow(0.5, (at - begins - rises) / fades)


@dataclass(frozen=True)
class Deploy:
    """A new revision at an instant; `is_broken` if its containers end at once."""

    at: float
    is_broken: bool = False


@dataclass(frozen=True)
class ZoneOutage:
    """All hosts of the first zone are gone, and none come there, until it is back."""

    at: float
    seconds: float


@dataclass(frozen=True)
class Shortage:
    """So large a share of host launches fails."""

    at: float
    seconds: float
    share: float


@dataclass(frozen=True)
class SlowPulls:
    """Image pulls take this many times as long, and hosts have no image cached."""

    at: float
    seconds: float
    factor: float


@dataclass(frozen=True)
class SpotReclaim:
    """This share of the hosts gets a Spot notice, and is terminated two minutes later."""

    at: float
    share: float


@dataclass(frozen=True)
class AbusiveOwner:
    """One owner requests this many times the usual rate of all owners, and stays connected."""

    at: float
    seconds: float
    factor: float


Disturbance = Deploy | ZoneOutage | Shortage | SlowPulls | SpotReclaim | AbusiveOwner


@dataclass(frozen=True)
class Scenario:
    """A named one. `sessions` live at once at the usual rate, unless told otherwise."""

    name: str
    line: str
    seconds: float
    load: Load = steady
    disturbances: tuple[Disturbance, ...] = ()
    sessions: int = 2_000


def _flash(at: float) -> float:
    return crowd(at, begins=30 * MINUTE, peak=10.0, rises=MINUTE, fades=4 * MINUTE)


def _up(at: float) -> float:
    return min(2.0, 1.0 + max(0.0, at - 20 * MINUTE) / (40 * MINUTE))


ALL = (
    Scenario(
        "diurnal",
        "a day: a fifth of the peak at night, the peak in the evening",
        24 * HOUR,
        diurnal,
    ),
    Scenario("flash-crowd", "ten times the usual arrivals within a minute", 1.5 * HOUR, _flash),
    Scenario(
        "deploy-at-peak",
        "a new revision under full load, and a broken one half an hour later",
        1.5 * HOUR,
        disturbances=(Deploy(30 * MINUTE), Deploy(60 * MINUTE, is_broken=True)),
    ),
    Scenario(
        "zone-outage",
        "one of three zones is gone for half an hour, with its hosts",
        1.5 * HOUR,
        disturbances=(ZoneOutage(30 * MINUTE, 30 * MINUTE),),
    ),
    Scenario(
        "az-shortage",
        "nine of ten host launches fail for an hour while the load doubles",
        2 * HOUR,
        _up,
        (Shortage(15 * MINUTE, HOUR, 0.9),),
    ),
    Scenario(
        "slow-pulls",
        "image pulls take twenty times as long while the load doubles",
        1.5 * HOUR,
        _up,
        (SlowPulls(15 * MINUTE, HOUR, 20.0),),
    ),
    Scenario(
        "spot-reclaim",
        "30 % of the hosts are taken away with two minutes' notice",
        1.5 * HOUR,
        disturbances=(SpotReclaim(30 * MINUTE, 0.3),),
    ),
    Scenario(
        "abusive-owner",
        "one owner asks for three times as many sessions as all others",
        1.5 * HOUR,
        disturbances=(AbusiveOwner(30 * MINUTE, 20 * MINUTE, 3.0),),
    ),
)
BY_NAME: Mapping[str, Scenario] = {scenario.name: scenario for scenario in ALL}
