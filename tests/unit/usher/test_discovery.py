import pytest

from usher.discovery import find_job, find_jobs, find_project
from usher.errors import ProjectError
from usher.job import snake_case

ONE = """
from usher import Job
class PriceAlert(Job):
    def run(self, parameters):
        return 1
"""


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("Echo", "echo"),
        ("MarketReport", "market_report"),
        ("ABReminder", "ab_reminder"),
        ("Top10List", "top10_list"),
        ("already_so", "already_so"),
    ],
)
def test_a_job_is_called_as_its_class_in_snake_case(name, snake):
    assert snake_case(name) == snake


def test_the_project_is_the_folder_with_jobs_here_or_above(project):
    root = project(one=ONE)
    below = root / "deep" / "down"
    below.mkdir(parents=True)
    assert find_project(below) == root
    with pytest.raises(ProjectError, match="is in no project"):
        find_project(root.parent)


def test_jobs_are_what_the_modules_define(project):
    root = project(
        one=ONE,
        two="""
        from jobs.one import PriceAlert
        from usher import Job
        class Base(Job):
            "No run of its own: a base for others."
        class _Hidden(PriceAlert):
            pass
        class Loud(PriceAlert):
            pass
        """,
        _shared="raise RuntimeError('nobody imports this')",
    )
    found = find_jobs(root)
    assert list(found.jobs) == ["loud", "price_alert"]
    assert found.problems == ()


def test_a_broken_module_is_named_and_stops_no_other(project):
    root = project(one=ONE, broken="import nowhere", typo="def (", leaves="raise SystemExit(3)")
    found = find_jobs(root)
    assert list(found.jobs) == ["price_alert"]
    broken, leaves, typo = found.problems
    assert broken.startswith("jobs.broken cannot be imported: ModuleNotFoundError: No module named")
    assert "broken.py:1" in broken
    assert leaves.startswith("jobs.leaves cannot be imported: SystemExit")
    assert typo.startswith("jobs.typo cannot be imported: SyntaxError")


def test_two_jobs_of_one_name_are_both_named(project):
    root = project(one=ONE, two=ONE)
    assert find_jobs(root).problems == (
        "the job price_alert is defined twice: jobs.one.PriceAlert and jobs.two.PriceAlert",
    )
    with pytest.raises(ProjectError, match="is defined twice"):
        find_job(root, "price_alert")


def test_one_job_is_found_without_importing_the_others(project):
    root = project(one=ONE, broken="import nowhere")
    assert find_job(root, "price_alert").__name__ == "PriceAlert"


def test_a_job_in_a_package_is_found(project):
    root = project()
    package = root / "jobs" / "alerts"
    package.mkdir()
    (package / "__init__.py").write_text("from jobs.alerts.price import PriceAlert\n")
    (package / "price.py").write_text(ONE)
    assert find_job(root, "price_alert").__module__ == "jobs.alerts.price"
    assert list(find_jobs(root).jobs) == ["price_alert"]


def test_a_missing_job_is_told_with_those_there_are(project):
    with pytest.raises(ProjectError, match="has no job 'other'; there is: price_alert"):
        find_job(project(one=ONE), "other")


def test_a_job_whose_module_cannot_be_read_is_told_why(project):
    with pytest.raises(ProjectError, match=r"jobs\.other cannot be imported: SyntaxError"):
        find_job(project(other="class ("), "other")
