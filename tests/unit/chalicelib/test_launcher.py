"""Tasks of two clusters: each call goes to the cluster that a task's ARN names."""

import pytest

from chalicelib.ecs.launcher import Launcher, StaleTokenError


def arn(cluster, number):
    return f"arn:aws:ecs:eu-west-1:1:task/{cluster}/{number:032x}"


class Ecs:
    """ListTasks in pages of two, DescribeTasks and StopTask, of the clusters that it has."""

    def __init__(self, **tasks):
        self.tasks = {cluster: list(map(int, ids)) for cluster, ids in tasks.items()}
        self.calls = []

    def list_tasks(self, cluster, nextToken="0", **_):  # noqa: N803 - boto3's word
        begin, ids = int(nextToken), self.tasks[cluster]
        answer = {"taskArns": [arn(cluster, n) for n in ids[begin : begin + 2]]}
        return answer | ({"nextToken": str(begin + 2)} if begin + 2 < len(ids) else {})

    def describe_tasks(self, cluster, tasks):
        self.calls.append(("describe", cluster, len(tasks)))
        assert all(f"/{cluster}/" in task for task in tasks)
        return {"tasks": [{"taskArn": task, "lastStatus": "RUNNING"} for task in tasks]}

    def stop_task(self, cluster, task, reason):
        self.calls.append(("stop", cluster, task))


def pages(launcher):
    found, token = [], None
    while True:
        page, token = launcher.page(token)
        found.append([change.task_arn for change in page])
        if token is None:
            return found


@pytest.mark.parametrize(("first", "second"), [(3, 3), (0, 1), (2, 0), (0, 0)])
def test_all_tasks_of_both_clusters_are_gone_through_once(first, second):
    ecs = Ecs(one=range(first), two=range(10, 10 + second))
    found = [task for page in pages(Launcher(ecs, "one", "two")) for task in page]
    wanted = [arn("one", n) for n in range(first)] + [arn("two", 10 + n) for n in range(second)]
    assert found == wanted


def test_a_token_of_a_deployment_with_another_cluster_is_stale():
    launcher = Launcher(Ecs(one=[1]), "one")
    for token in ("1|", "abc", "7|4", ""):
        with pytest.raises(StaleTokenError):
            launcher.page(token)


def test_each_task_is_looked_at_and_stopped_in_its_own_cluster():
    ecs = Ecs(one=[1], two=[2])
    launcher = Launcher(ecs, "one", "two")
    assert set(launcher.describe([arn("two", 2), arn("one", 1)])) == {arn("one", 1), arn("two", 2)}
    launcher.stop(arn("two", 2), "over")
    launcher.stop("0" * 32, "without a cluster")
    assert ecs.calls[-2:] == [("stop", "two", arn("two", 2)), ("stop", "one", "0" * 32)]
    marked = launcher.started_by("job#1")
    assert {change.task_arn for change in marked} == {arn("one", 1), arn("two", 2)}
