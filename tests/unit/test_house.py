"""Rules of the packages: allowed imports, and modules that a pure one may not use."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = ["app.py", "chalicelib", "session_handler", "usher", "examples"]
NEVER_SHIPPED = {"local", "simulation", "tests", "benchmarks", "moto"}
MUST_BE_PURE = {
    "chalicelib/apps.py",
    "chalicelib/audit/items.py",
    "chalicelib/audit/model.py",
    "chalicelib/audit/requests.py",
    "chalicelib/callers.py",
    "chalicelib/capacity/fairness.py",
    "chalicelib/capacity/groups.py",
    "chalicelib/capacity/shares.py",
    "chalicelib/cluster_query.py",
    "chalicelib/contract/assignments.py",
    "chalicelib/contract/filters.py",
    "chalicelib/contract/graders.py",
    "chalicelib/contract/repeating.py",
    "chalicelib/dynamodb/expressions.py",
    "chalicelib/dynamodb/serialization.py",
    "chalicelib/dynamodb/writes.py",
    "chalicelib/capacity/cluster_state.py",
    "chalicelib/capacity/hosts.py",
    "chalicelib/capacity/placement.py",
    "chalicelib/ecs/failures.py",
    "chalicelib/ecs/hosts.py",
    "chalicelib/ecs/requests.py",
    "chalicelib/tasks/revisions.py",
    "chalicelib/ecs/task_changes.py",
    "chalicelib/ecs/task_definitions.py",
    "chalicelib/fields.py",
    "chalicelib/instants.py",
    "chalicelib/grading/answers.py",
    "chalicelib/grading/fairness.py",
    "chalicelib/grading/images.py",
    "chalicelib/grading/items.py",
    "chalicelib/grading/lifecycle.py",
    "chalicelib/grading/model.py",
    "chalicelib/grading/multipart.py",
    "chalicelib/grading/requests.py",
    "chalicelib/grading/scores.py",
    "chalicelib/jobs/model.py",
    "chalicelib/schedules/cron.py",
    "chalicelib/schedules/model.py",
    "chalicelib/schedules/items.py",
    "chalicelib/schedules/requests.py",
    "chalicelib/sessions/answers.py",
    "chalicelib/sessions/items.py",
    "chalicelib/sessions/lifecycle.py",
    "chalicelib/sessions/limits.py",
    "chalicelib/sessions/listings.py",
    "chalicelib/sessions/model.py",
    "chalicelib/sessions/placement.py",
    "chalicelib/sessions/pool.py",
    "chalicelib/sessions/reaping.py",
    "chalicelib/sessions/requests.py",
    "chalicelib/sessions/writes.py",
    "chalicelib/task_identity.py",
    "chalicelib/task_placement.py",
    "session_handler/cursor.py",
    "session_handler/protocol.py",
    "usher/answers.py",
    "usher/box/bubblewrap.py",
    "usher/box/docker_requests.py",
    "usher/box/model.py",
    "usher/box/seccomp.py",
    "usher/box/syscalls.py",
    "usher/cli/operations_text.py",
    "usher/cli/text.py",
    "usher/ending.py",
    "usher/grading/checkers.py",
    "usher/grading/image_results.py",
    "usher/grading/results.py",
    "usher/grading/verdicts.py",
    "usher/protocol.py",
    "usher/repeating.py",
    "usher/session_steps.py",
    "usher/child_messages.py",
}
IMPURE_MODULES = {
    "asyncio", "boto3", "botocore", "concurrent", "http", "multiprocessing", "os", "random",
    "secrets", "select", "selectors", "signal", "socket", "ssl", "subprocess", "tempfile",
    "threading", "time", "urllib.request", "websockets",
}  # fmt: skip
PURE_ALL_THE_SAME = {
    "random.Random",  # with a seed passed in
    "signal.Signals",  # names
}  # fmt: skip
IMPURE_CALLS = {"now", "utcnow", "today", "uuid1", "uuid4", "open", "getenv", "read_text"}
FLOORS = [
    {"contract"},
    {
        "answer_size",
        "errors",
        "fields",
        "instants",
        "callers",
        "apps",
        "cluster_query",
        "task_identity",
        "task_placement",
        "config",
        "logs",
        "metrics",
        "tags",
        "traces",
        "clients",
    },
    {"dynamodb", "ecs"},
    {"feed", "tasks", "capacity", "audit", "environment"},
    {"sessions", "jobs"},
    {"schedules", "grading"},
    {"wiring"},
    {"api"},
]
"""`chalicelib/` from the ground up: a module imports from its own floor or below."""
BESIDE = [
    {"sessions", "jobs"},
    {"sessions", "schedules"},
    {"grading", "sessions"},
    {"grading", "schedules"},
    {"capacity", "feed"},
    {"capacity", "audit"},
]
"""Packages that do not import each other."""


def modules_below(*places: str) -> list[Path]:
    files = []
    for place in places:
        path = ROOT / place
        files += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return [file for file in files if "node_modules" not in file.parts]


def imports_of(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def is_pure_by_its_own_word(tree: ast.Module) -> bool:
    return "Pure" in (ast.get_docstring(tree) or "").replace(".", " ").replace(":", " ").split()


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


ALL = modules_below(
    "app.py", "chalicelib", "session_handler", "usher", "examples", "local", "simulation"
)


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_pure_modules_touch_neither_the_world_nor_the_clock(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not is_pure_by_its_own_word(tree):
        assert name_of(path) not in MUST_BE_PURE, "its docstring must say that it is pure"
        return
    touched = {name for name in imports_of(tree) if within(name, IMPURE_MODULES)}
    touched -= PURE_ALL_THE_SAME
    called = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }
    assert not touched
    assert not called & IMPURE_CALLS


@pytest.mark.parametrize("path", modules_below(*SHIPPED), ids=name_of)
def test_nothing_shipped_imports_the_local_cloud_or_the_tests(path: Path) -> None:
    imported = imports_of(ast.parse(path.read_text(encoding="utf-8")))
    assert not {name for name in imported if within(name, NEVER_SHIPPED)}


def test_the_simulation_runs_what_is_deployed_and_nothing_else_imports_it() -> None:
    outside = modules_below("app.py", "chalicelib", "session_handler", "usher", "infra", "local")
    for path in outside:
        imported = imports_of(ast.parse(path.read_text(encoding="utf-8")))
        assert not {name for name in imported if within(name, {"simulation"})}, name_of(path)
    used = set[str]()
    for path in modules_below("simulation"):
        used |= imports_of(ast.parse(path.read_text(encoding="utf-8")))
    assert not {name for name in used if within(name, {"chalice", "moto", "boto3", "tests"})}
    of_local = {name for name in used if within(name, {"local"})}
    assert all(within(name, {"local.aws.ecs.buckets"}) for name in of_local)
    assert any(within(name, {"chalicelib.sessions.wiring"}) for name in used)


def test_only_the_child_and_the_description_of_a_job_know_pydantic() -> None:
    knowing = {
        name_of(path)
        for path in modules_below("usher")
        if any(
            within(name, {"pydantic"})
            for name in imports_of(ast.parse(path.read_text(encoding="utf-8")))
        )
    }
    judge = "usher/judge/jobs/marking.py"  # a job itself
    assert knowing == {"usher/child.py", "usher/description.py", "usher/job.py", judge}


@pytest.mark.parametrize("path", modules_below("session_handler", "usher"), ids=name_of)
def test_containers_know_only_the_contract(path: Path) -> None:
    imported = imports_of(ast.parse(path.read_text(encoding="utf-8")))
    from_dispatcher = {name for name in imported if within(name, {"chalicelib"})}
    assert {name for name in from_dispatcher if not within(name, {"chalicelib.contract"})} == set()
    assert not {name for name in imported if within(name, {"boto3", "app"})}


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "chalicelib").parts[0].removesuffix(".py")


def floor_of(room: str) -> int:
    return next(level for level, rooms in enumerate(FLOORS) if room in rooms)


FILES_ALONE = {"__init__", "console", "demo"}
ROOMS = [path for path in modules_below("chalicelib") if room_of(path) not in FILES_ALONE]


@pytest.mark.parametrize("path", ROOMS, ids=name_of)
def test_nothing_imports_upwards(path: Path) -> None:
    room = room_of(path)
    imported = imports_of(ast.parse(path.read_text(encoding="utf-8")))
    rooms = {name.split(".")[1] for name in imported if name.startswith("chalicelib.")}
    assert not {other for other in rooms if floor_of(other) > floor_of(room)}
    assert not {other for other in rooms - {room} for pair in BESIDE if {room, other} == pair}


def test_every_room_stands_on_a_floor_and_every_floor_has_its_rooms() -> None:
    assert {room_of(path) for path in ROOMS} == set.union(*FLOORS)


def test_only_entry_points_touch_chalice() -> None:
    touching = {
        room_of(path)
        for path in ROOMS
        if any(
            within(name, {"chalice"})
            for name in imports_of(ast.parse(path.read_text(encoding="utf-8")))
        )
    }
    assert touching == {"api"}


def test_only_config_reads_the_environment() -> None:
    readers = {
        name_of(path)
        for path in modules_below("app.py", "chalicelib")
        if any(
            isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    }
    assert readers == {"chalicelib/config.py"}


@pytest.mark.parametrize("path", modules_below("chalicelib/contract"), ids=name_of)
def test_the_contract_needs_the_standard_library_only(path: Path) -> None:
    imported = {name.partition(".")[0] for name in imports_of(ast.parse(path.read_text("utf-8")))}
    assert imported <= sys.stdlib_module_names | {"chalicelib"}


def test_the_entry_is_short() -> None:
    assert len((ROOT / "app.py").read_text(encoding="utf-8").splitlines()) < 40
