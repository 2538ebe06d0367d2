"""The laboratories themselves: they refuse requests that moto or a lenient engine would accept."""

from collections.abc import Iterator

import pytest

from tests.integration.lab import Lab

APPS = '[apps.chat]\nimage = "any"\n'


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab(read_lag_seconds=3.0)
    made.fresh(APPS)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("list_task_definition_families", {"prefix": "usher"}),
        ("list_tasks", {"cluster": "c", "maxResults": "100"}),
        ("run_task", {"cluster": "c"}),
        ("describe_tasks", {"cluster": "c", "tasks": "arn"}),
    ],
)
def test_a_request_that_botocores_model_does_not_know_is_refused(
    lab: Lab, operation: str, parameters: dict[str, object]
) -> None:
    with pytest.raises(AssertionError, match="arameter"):
        getattr(lab.aws.ecs, operation)(**parameters)


def test_what_ecs_lists_lags_by_the_standing_clock(lab: Lab) -> None:
    services = lab.process()
    session = services.sessions.service.dispatch(lab.request("chat", "me"))
    cluster = lab.config.cluster
    assert session.task_arn
    assert lab.aws.ecs.list_tasks(cluster=cluster)["taskArns"] == []
    lab.now.move(3.0)
    assert lab.aws.ecs.list_tasks(cluster=cluster)["taskArns"] == [session.task_arn]
