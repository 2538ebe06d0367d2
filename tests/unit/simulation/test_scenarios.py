"""Each scenario on a small cell: invariants, and reproducibility by the seed."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from chalicelib.sessions.limits import counters_of, limits_for
from chalicelib.sessions.model import State
from simulation import __main__ as command
from simulation import million
from simulation.report import document_of, sparkline
from simulation.scenarios import ALL, BY_NAME, HOUR, diurnal
from simulation.shape import APP
from simulation.world import ABUSER, World, world_of

ROOT = Path(__file__).parents[3]
SESSIONS = 60
PLANNED = {"diurnal", "az-shortage"}
"""Under the own planner for hosts; the others under managed scaling."""
EXPECTED_CUTS = {"zone-outage", "spot-reclaim"}


def small(name: str, seed: int = 1, seconds: float | None = None) -> World:
    scenario = BY_NAME[name]
    if name == "diurnal":
        seconds = 2 * HOUR
    if seconds is not None:
        scenario = replace(scenario, seconds=seconds)
    world = world_of(scenario, SESSIONS, seed=seed, planned_hosts=name in PLANNED)
    world.run()
    return world


@pytest.fixture(scope="module", params=[scenario.name for scenario in ALL])
def world(request):
    world = small(request.param)
    yield world
    world.cell.time.close()


def test_no_visitor_is_forgotten_and_no_session_has_two(world):
    outcomes = world.cell.visits.outcomes()
    assert outcomes.keys() <= {"served", "gave up", "waiting", "lost before it connected"}
    assert outcomes["served"] > 0
    now = world.cell.time.now()
    overdue = [
        v for v in world.cell.visits.all if v.outcome == "waiting" and now - v.arrived_at > 200
    ]
    assert not overdue
    assert world.cell.given_twice == 0
    with_address = sum(visit.address_at is not None for visit in world.cell.visits.all)
    assert with_address == len(world.cell.given)


def test_no_session_is_cut_short_but_by_the_host_it_was_on(world):
    cut = [visit for visit in world.cell.visits.all if visit.was_cut]
    on_hosts = {f"session/{visit.session_id}" for visit in cut}
    assert on_hosts <= world.lost_with_hosts
    if world.scenario.name not in EXPECTED_CUTS:
        assert not world.lost_with_hosts


def test_limits_are_never_exceeded_and_counters_count_what_lives(world):
    cell = world.cell
    assert world.most_of_owner <= cell.shape.per_owner
    assert world.most_live <= cell.shape.most_sessions
    counted = Counter(
        key
        for session in cell.table.sessions.values()
        if session.state is not State.ENDED
        for key in session.counters
    )
    limits = limits_for(cell.config.apps.limits, app=APP, app_maximum=0, owner=ABUSER, now=0)
    for limit in limits:
        for counter in counters_of(limit):
            stands_at = cell.table.items.items.get(counter.key, {"n": 0})["n"]
            assert stands_at == counted[counter.key]
            assert stands_at <= counter.maximum


def test_every_task_on_a_host_has_a_session_that_has_not_ended_or_is_about_to(world):
    cell = world.cell
    on_hosts = [task for host in cell.ecs.hosts.values() for task in host.tasks.values()]
    live = {s.started_by for s in cell.table.sessions.values() if s.state is not State.ENDED}
    recent = cell.time.now() - 90
    assert not [t for t in on_hosts if t.started_by not in live and t.created_at < recent]
    assert all(len(host.tasks) <= host.slots for host in cell.ecs.hosts.values())


def test_no_quota_is_passed_that_aws_would_have_enforced(world):
    rows = {row["name"]: row for row in document_of(world, seed=1, sessions=SESSIONS)["quotas"]}
    assert len(rows) == 15
    assert all(row["peak"] <= row["quota"] for row in rows.values())


def test_a_crowd_waits_and_an_abusive_owner_is_refused_alone():
    crowd = small("flash-crowd")
    document = document_of(crowd, seed=1, sessions=SESSIONS)
    assert document["warm"]["share"] < 0.95
    assert document["waiting"]["p99"] > document["warm"]["p99"]
    abused = small("abusive-owner")
    refused = [visit for visit in abused.cell.visits.all if visit.refusals["limit_reached"]]
    assert refused
    assert {visit.owner for visit in refused} == {ABUSER}
    crowd.cell.time.close()
    abused.cell.time.close()


def test_a_broken_revision_reaches_nobody():
    world = small("deploy-at-peak")
    assert world.cell.ecs.revision == 3
    outcomes = world.cell.visits.outcomes()
    assert set(outcomes) <= {"served", "waiting"}
    revisions = {s.revision for s in world.cell.table.sessions.values() if s.state is State.ACTIVE}
    assert revisions <= {1, 2}
    world.cell.time.close()


def test_the_same_seed_gives_the_same_bytes_in_another_process_and_another_seed_does_not():
    arguments = ["flash-crowd", "--sessions", "20", "--json", "--seed"]

    def run(seed: str, hash_seed: str) -> bytes:
        return subprocess.run(
            [sys.executable, "-m", "simulation", *arguments, seed],
            cwd=ROOT,
            env={"PYTHONHASHSEED": hash_seed, "PATH": ""},
            capture_output=True,
            check=True,
        ).stdout

    first = run("7", "1")
    assert run("7", "2") == first
    assert run("8", "1") != first
    assert json.loads(first)["visitors"] > 0


def test_a_day_has_a_night():
    hours = [diurnal(hour * HOUR) for hour in range(24)]
    assert 0.99 <= max(hours) <= 1.0
    assert 0.2 <= min(hours) < 0.25
    assert hours.index(max(hours)) in range(17, 22)
    assert hours.index(min(hours)) in range(3, 9)


def test_many_cells_lose_one_and_the_others_get_its_users():
    document = million.run(sessions=400, cells=4, seed=3, processes=1, batch=4)
    assert document["cells"] == 4
    (lost,) = [one for one in document["ofCells"] if one["isLost"]]
    others = [one for one in document["ofCells"] if not one["isLost"]]
    assert document["lost"] == lost["cell"]
    assert sum(one["sessions"] for one in document["ofCells"]) == pytest.approx(400, abs=20)
    assert all(one["visitors"] > lost["visitors"] for one in others)
    assert document["givenTwice"] == 0
    assert document["mostLive"] > 400  # the usual live sessions, and those of the crowd
    assert "one simulated session stands for 4" in million.text_of(document)


def test_the_command_lists_its_scenarios_and_refuses_what_it_does_not_know(capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in [*BY_NAME, million.NAME])
    for arguments, said in (
        (["no-such"], "no scenario is called 'no-such'"),
        (["diurnal", "--sessions", "0"], "a whole number from 1 to 1,000,000, not '0'"),
        (["diurnal", "--cells", "3"], "--cells: diurnal is of one cell"),
        (["flash-crowd", "--batch", "900"], "a batch of 900: a host takes 60 sessions"),
    ):
        with pytest.raises(SystemExit) as ended:
            command.main(arguments)
        assert ended.value.code == 2
        assert said in capsys.readouterr().err


def test_a_plot_is_as_high_as_its_highest_and_blank_where_nothing_is_known():
    assert sparkline([0.0, None, 1.0]) == "▁ █"
    assert len(sparkline([1.0] * 500)) == 72
