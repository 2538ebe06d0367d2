import json

from infra.supply.audit import Finding, audit, read_report
from infra.supply.locks import LOCKS

CLEAN = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
LEFT_OUT = {"name": "c", "skip_reason": "not found"}


def report(*packages):
    return json.dumps({"dependencies": packages})


def test_a_vulnerability_is_found():
    assert read_report(1, report(CLEAN, BAD), "").vulnerabilities == ("b 2: CVE-1, fixed in ['3']",)


def test_a_package_that_was_left_out_is_no_clean_answer():
    assert read_report(0, report(CLEAN, LEFT_OUT), "").unreachable == "nothing is known about c"


def test_no_report_is_no_answer():
    assert read_report(1, "", "Traceback\nConnectionError: no route").unreachable == (
        "ConnectionError: no route"
    )


def test_a_clean_answer_about_every_lock_is_success():
    asked = []

    def ask(lock, service):
        asked.append(lock)
        return Finding()

    assert audit(ask, required=True)[0] == 0
    assert asked == list(LOCKS.values())


def test_the_second_database_is_asked_where_the_first_does_not_answer():
    def ask(lock, service):
        return Finding(unreachable="down") if service == "pypi" else Finding(("b: CVE-1",))

    code, lines = audit(ask, required=False)
    assert code == 1
    assert lines[0] == "pypi: down"
    assert lines[1].endswith("b: CVE-1")


def test_no_database_skips_with_the_reason_unless_one_is_required():
    def ask(lock, service):
        return Finding(unreachable="down")

    code, lines = audit(ask, required=False)
    assert code == 0
    assert lines == [
        "pypi: down",
        "osv: down",
        "SKIPPED: no database of vulnerabilities answers here",
    ]
    assert audit(ask, required=True)[0] == 1


def test_a_vulnerability_counts_even_if_the_database_left_a_package_out():
    def ask(lock, service):
        return Finding(("b: CVE-1",), "nothing is known about c")

    assert audit(ask, required=False)[0] == 1
