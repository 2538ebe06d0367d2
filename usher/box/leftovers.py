"""Removes unused objects of boxes from a Docker Engine: volumes of guards, cleaned images,
containers of judges that ended while they cleaned an image.

It runs when a new object of the same kind is made, which is seldom. An object that is removed too
early is made again, and the engine refuses to remove objects in use.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from usher.box.engine import Engine, EngineError

VOLUMES_KEPT = timedelta(days=1)
"""An unused volume of a guard is kept for this long after it was made."""
IMAGES_KEPT = timedelta(days=30)
"""An image is kept for this long after its last use."""

CONTAINERS_KEPT = timedelta(minutes=30)
"""A container for cleaning an image is kept for this long after it was made; cleaning takes
minutes."""


def remove_containers(engine: Engine, prefix: str) -> list[str]:
    """Remove old containers with this name prefix; returns their ids."""
    query = {"all": "1", "filters": json.dumps({"name": [f"^/{prefix}"]})}
    found = engine.call("GET", "/containers/json", query)
    old = decide_containers(found, datetime.now(UTC))
    return [
        each for each in old if _removed(engine, f"/containers/{each}", {"force": "1", "v": "1"})
    ]


def remove_volumes(engine: Engine, label: str, kept: str) -> list[str]:
    """Remove old volumes with this label except `kept`; returns their names."""
    query = {"filters": json.dumps({"label": [label]})}
    found = engine.call("GET", "/volumes", query).get("Volumes") or ()
    old = decide_volumes(found, datetime.now(UTC))
    return [name for name in old if name != kept and _removed(engine, f"/volumes/{name}")]


def remove_images(engine: Engine, references: Sequence[str]) -> list[str]:
    """Remove tags of these names that were not used for long; returns them."""
    query = {"filters": json.dumps({"reference": list(references)})}
    listed = engine.call("GET", "/images/json", query)
    tags = [tag for image in listed for tag in image.get("RepoTags") or ()]
    details = {}
    for tag in tags:
        with contextlib.suppress(EngineError):  # another process has just removed it
            details[tag] = engine.call("GET", f"/images/{tag}/json")
    old = decide_images(details, datetime.now(UTC))
    return [tag for tag in old if _removed(engine, f"/images/{tag}")]


def decide_containers(containers: Sequence[Mapping[str, Any]], now: datetime) -> list[str]:
    """The ids of old containers. `Created` is in seconds since 1970."""
    oldest = (now - CONTAINERS_KEPT).timestamp()
    return [each["Id"] for each in containers if each["Created"] < oldest]


def decide_volumes(volumes: Sequence[Mapping[str, Any]], now: datetime) -> list[str]:
    """The names of old volumes."""
    return [v["Name"] for v in volumes if _is_older(v.get("CreatedAt"), VOLUMES_KEPT, now)]


def decide_images(details: Mapping[str, Mapping[str, Any]], now: datetime) -> list[str]:
    """Tags that were not set for long: each use tags the image again."""
    tagged_at = {
        tag: (found.get("Metadata") or {}).get("LastTagTime") for tag, found in details.items()
    }
    return [tag for tag, at in tagged_at.items() if _is_older(at, IMAGES_KEPT, now)]


def _is_older(text: Any, age: timedelta, now: datetime) -> bool:
    """A time that cannot be parsed, or that is unknown (year 1), is not old."""
    try:
        # Docker writes nanoseconds, which Python does not parse.
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
