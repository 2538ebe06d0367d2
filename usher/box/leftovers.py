"""What boxes left on a Docker Engine and nobody needs any more: volumes of guards, cleaned images,
containers of judges that died while they cleaned one.

It is removed where something new of its kind is made, which is seldom. What is removed too early is
made again at its next use, and the engine itself refuses to remove what a container uses.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from usher.box.engine import Engine, EngineError

VOLUMES_KEPT = timedelta(days=1)
"""How long after it was made a guard's volume is kept that no container has."""
IMAGES_KEPT = timedelta(days=30)
"""How long after its last use an image is kept."""

CONTAINERS_KEPT = timedelta(minutes=30)
"""How long after it was made a container stays that an image is cleaned in: it takes minutes."""


def remove_containers(engine: Engine, prefix: str) -> list[str]:
    """Remove old containers whose names begin so; the ids of those that went."""
    query = {"all": "1", "filters": json.dumps({"name": [f"^/{prefix}"]})}
    found = engine.call("GET", "/containers/json", query)
    old = decide_containers(found, datetime.now(UTC))
    return [
        each for each in old if _removed(engine, f"/containers/{each}", {"force": "1", "v": "1"})
    ]


def remove_volumes(engine: Engine, label: str, kept: str) -> list[str]:
    """Remove old volumes with this label but for `kept`; the names of those that went."""
    query = {"filters": json.dumps({"label": [label]})}
    found = engine.call("GET", "/volumes", query).get("Volumes") or ()
    old = decide_volumes(found, datetime.now(UTC))
    return [name for name in old if name != kept and _removed(engine, f"/volumes/{name}")]


def remove_images(engine: Engine, references: Sequence[str]) -> list[str]:
    """Remove tags of these names that were not used for long; those that went."""
    query = {"filters": json.dumps({"reference": list(references)})}
    listed = engine.call("GET", "/images/json", query)
    tags = [tag for image in listed for tag in image.get("RepoTags") or ()]
    details = {}
    for tag in tags:
        with contextlib.suppress(EngineError):  # somebody has just removed it
            details[tag] = engine.call("GET", f"/images/{tag}/json")
    old = decide_images(details, datetime.now(UTC))
    return [tag for tag in old if _removed(engine, f"/images/{tag}")]


def decide_containers(containers: Sequence[Mapping[str, Any]], now: datetime) -> list[str]:
    """The ids of those that are old. `Created` is in seconds since 1970."""
    oldest = (now - CONTAINERS_KEPT).timestamp()
    return [each["Id"] for each in containers if each["Created"] < oldest]


def decide_volumes(volumes: Sequence[Mapping[str, Any]], now: datetime) -> list[str]:
    """The names of those that are old."""
    return [v["Name"] for v in volumes if _is_older(v.get("CreatedAt"), VOLUMES_KEPT, now)]


def decide_images(details: Mapping[str, Mapping[str, Any]], now: datetime) -> list[str]:
    """The tags of those that were not tagged for long: each use tags them again."""
    tagged_at = {
        tag: (found.get("Metadata") or {}).get("LastTagTime") for tag, found in details.items()
    }
    return [tag for tag, at in tagged_at.items() if _is_older(at, IMAGES_KEPT, now)]


def _is_older(text: Any, age: timedelta, now: datetime) -> bool:
    """An instant that cannot be read, or that the engine does not know (year 1), is not old."""
    try:
        # Docker writes nanoseconds, which Python does not read.
        head, dot, rest = str(text).partition(".")
        zone = rest.lstrip("0123456789") if dot else ""
        at = datetime.fromisoformat(head + zone)
    except ValueError:
        return False
    return at.tzinfo is not None and at.year > 1 and now - at > age


def _removed(engine: Engine, path: str, query: Mapping[str, str] | None = None) -> bool:
    try:
        engine.call("DELETE", path, query)
    except EngineError:  # in use, or gone
        return False
    return True
