"""Sessions that start and end leave no resource open: a few hundred, four at a time."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.processes import descriptors
from tests.integration.conftest import wait_until
from tests.integration.light import IMAGE, MEMORY_MIB, make_light_image
from tests.integration.sessions import no_tasks

AT_A_TIME = 4
FIRST, MORE = 40, 120
SLACK = 20
"""A connection more for each call that was never at once before; a leak would be `MORE`."""
APPS = f"""
[apps.light]
image = "{IMAGE}"
cpu = 8
memory = {MEMORY_MIB}
"""


def test_descriptors_do_not_grow_with_the_sessions_that_were(start_cloud, tmp_path: Path) -> None:
    apps = tmp_path / "apps.toml"
    apps.write_text(APPS, encoding="utf-8")
    cloud = start_cloud(apps=apps, image=make_light_image(tmp_path / "light"))

    def come_and_go(_: int) -> None:
        status, session = cloud.http("GET", "/session?wait=0")
        assert status in {200, 202}, session
        assert cloud.http("DELETE", f"/sessions/{session['id']}")[0] == 200

    def open_after(sessions: int) -> dict[str, int]:
        with ThreadPoolExecutor(AT_A_TIME) as users:
            list(users.map(come_and_go, range(sessions)))
        no_tasks(cloud)
        wait_until(lambda: not cloud.state()["pending"], 30, "quiet")
        pids = {"dispatcher": cloud.state()["dispatcher"]["pid"], "aws": cloud.process.pid}
        return {name: sum(descriptors(pid).values()) for name, pid in pids.items()}

    before, after = open_after(FIRST), open_after(MORE)
    assert {name: after[name] - before[name] > SLACK for name in before} == dict.fromkeys(
        before, False
    ), (before, after)
