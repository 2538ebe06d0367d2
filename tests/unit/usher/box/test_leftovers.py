"""Which volumes and images of boxes are old."""

from datetime import UTC, datetime, timedelta

import pytest

from usher.box.leftovers import IMAGES_KEPT, VOLUMES_KEPT, decide_images, decide_volumes

NOW = datetime(2026, 5, 31, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def docker_writes(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.123456789+00:00")


@pytest.mark.parametrize(
    ("made", "is_old"),
    [
        (docker_writes(NOW - VOLUMES_KEPT - SECOND), True),
        (docker_writes(NOW - VOLUMES_KEPT + SECOND), False),
        ((NOW - 2 * VOLUMES_KEPT).strftime("%Y-%m-%dT%H:%M:%SZ"), True),
        ("yesterday", False),
        (None, False),
    ],
)
def test_old_volumes(made, is_old):
    volumes = [{"Name": "v", "CreatedAt": made}]
    assert decide_volumes(volumes, NOW) == (["v"] if is_old else [])


@pytest.mark.parametrize(
    ("details", "is_old"),
    [
        ({"Metadata": {"LastTagTime": docker_writes(NOW - IMAGES_KEPT - SECOND)}}, True),
        ({"Metadata": {"LastTagTime": docker_writes(NOW - IMAGES_KEPT + SECOND)}}, False),
        ({"Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"}}, False),  # the engine forgot
        ({"Metadata": None}, False),
        ({}, False),
    ],
)
def test_old_images(details, is_old):
    assert decide_images({"usher-cleaned:a": details}, NOW) == (
        ["usher-cleaned:a"] if is_old else []
    )
