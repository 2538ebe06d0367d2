"""How long stateful tests search, by the Hypothesis profile that runs them.

`gate` (the default) is derandomised: the same examples on every machine and in every run, and as
many as its settings say. `search` uses other examples each time, from the printed seed.
"""

from hypothesis import HealthCheck, Phase, settings

GATE, SEARCH = "gate", "search"
SEARCH_FACTOR = 20
"""Factor of the number of examples in a search."""


def register_profiles() -> None:
    """Register both and load `gate`; `pytest --hypothesis-profile=search` loads the other.

    No example has a deadline: its duration on a busy machine proves nothing.
    """
    settings.register_profile(GATE, derandomize=True, deadline=None, print_blob=True)
    settings.register_profile(
        SEARCH, derandomize=False, deadline=None, print_blob=True, database=None
    )
    settings.load_profile(GATE)


def machine_settings(examples: int, steps: int) -> settings:
    """Settings of a state machine. Shrinking takes minutes: it is off, for a developer to
    enable.
    """
    searches = not settings.default.derandomize
    return settings(
        phases=(Phase.explicit, Phase.generate),
        max_examples=examples * (SEARCH_FACTOR if searches else 1),
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
