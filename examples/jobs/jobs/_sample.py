"""An invented market, the same every time, for whoever has no records at hand. Pure."""

import json
from datetime import date, timedelta
from random import Random

FIRST_SATURDAY = date(2026, 1, 3)
WEEKS = 26
SUBURBS = {"Lantern Quay": 1.5, "Fernbank": 1.2, "Tui Rise": 1.1, "Halyard": 1.0, "Millrace": 0.8}
TYPES = {"house": (950_000, 60), "unit": (560_000, 25), "townhouse": (740_000, 15)}
STATUSES = {"sold": 72, "sold prior": 10, "passed in": 18}


def sample_lines() -> list[bytes]:
    """Results of 26 weekends as JSON lines."""
    random = Random(20260103)  # noqa: S311 - invents, protects nothing
    lines: list[bytes] = []
    for week in range(WEEKS):
        day = FIRST_SATURDAY + timedelta(weeks=week)
        level = 1 + 0.004 * week
        for _ in range(random.randint(60, 120)):
            suburb = random.choice(list(SUBURBS))
            kind = random.choices(list(TYPES), [weight for _, weight in TYPES.values()])[0]
            price = TYPES[kind][0] * SUBURBS[suburb] * level * random.lognormvariate(0, 0.25)
            record = {
                "id": f"sample-{len(lines) + 1:05}",
                "date": day.isoformat(),
                "suburb": suburb,
                "address": f"{random.randint(1, 200)} Sample St",
                "type": kind,
                "rooms": random.randint(1, 5),
                "price": round(price / 5_000) * 5_000,
                "status": random.choices(list(STATUSES), list(STATUSES.values()))[0],
            }
            lines.append(json.dumps(record).encode() + b"\n")
    return lines
