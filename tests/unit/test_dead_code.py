"""Nothing is shipped that nothing uses, by vulture: a name counts as used wherever it is read."""

from pathlib import Path

from vulture import Vulture

ROOT = Path(__file__).parents[2]
SHIPPED = ("app.py", "chalicelib", "session_handler", "usher", "infra")
READERS = ("benchmarks", "conformance", "examples", "local", "tests")
USED_ALL_THE_SAME = {
    "handle_data": "html.parser calls it",
    "handle_endtag": "html.parser calls it",
    "handle_starttag": "html.parser calls it",
    "AUTHOR": "the number of a user that images name as well",
    "UsherJudge": "the kit of jobs finds it by its base class",
    "__cause__": "Python reads it where an exception is printed",
    "__getattr__": "Python calls it for names that a module lacks",
    "close_timeout": "the websockets library reads it",
    "is_exact": "for people: how a run was measured",
    "log_errors": "an option of RE2",
    "max_mem": "an option of RE2",
    "model_config": "pydantic reads it",
    "raiseExceptions": "an option of logging",
    "run_blocking": "for session apps, which others write",
}
"""Names that only other code uses, with that code."""


def test_all_that_is_shipped_is_used():
    vulture = Vulture(ignore_decorators=["@routes.*"])  # Chalice calls these
    vulture.scavenge([ROOT / place for place in (*SHIPPED, *READERS)],
                     exclude=["*/node_modules/*", "*/.venv/*"])  # fmt: skip
    shipped = [ROOT / place for place in SHIPPED]
    unused = {
        item.name: f"{item.filename}:{item.first_lineno} {item.message}"
        for item in vulture.get_unused_code(min_confidence=60)
        if any(Path(item.filename).is_relative_to(place) for place in shipped)
    }
    dead = unused.keys() - USED_ALL_THE_SAME
    assert not dead, "\n".join(sorted(unused[name] for name in dead))
