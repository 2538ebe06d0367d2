"""How long stateful tests search, by the Hypothesis profile that runs them.

`gate` (the default) is derandomised: the same examples on every machine and in every run, and as
many as its settings say. `search` tries others each time, by the seed that is printed.
"""

from hypothesis import HealthCheck, Phase, settings

GATE, SEARCH = "gate", "search"
SEARCH_FACTOR = 20
"""How many times as many examples a search tries."""


def register_profiles() -> None:
    """Register both and load `gate`; `pytest --hypothesis-profile=search` loads the other.

    No example has a deadline: how long it takes on a busy machine says nothing.
    """
    settings.register_profile(GATE, derandomize=True, deadline=None, print_blob=True)
    settings.register_profile(
        SEARCH, derandomize=False, deadline=None, print_blob=True, database=None
    )
    settings.load_profile(GATE)


def machine_settings(examples: int, steps: int) -> settings:
    """Settings of a state machine. Shrinking takes minutes: it is left to whoever debugs one."""
    searches = not settings.default.derandomize
    return settings(
        phases=(Phase.explicit, Phase.generate),
        max_examples=examples * (SEARCH_FACTOR if searches else 1),
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
