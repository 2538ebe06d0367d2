"""Statistics of benchmarks."""

from benchmarks.report import Report


def report_of(*series):
    report = Report()
    for what, values, floor in series:
        report.add("cold", what, "ms", values, floor)
    return report


class TestRatio:
    def test_is_that_of_the_medians(self):
        report = report_of(("bare", [1, 2, 300], None), ("ours", [5, 6, 7], "bare"))
        assert report.ratio(report.series[1]) == 3

    def test_is_left_out_without_a_floor_that_was_measured(self):
        report = report_of(("ours", [5], "bare"), ("alone", [5], None))
        assert [report.ratio(series) for series in report.series] == [None, None]

    def test_knows_only_floors_of_its_own_group(self):
        report = report_of(("ours", [5], "bare"))
        report.add("warm", "bare", "ms", [1])
        assert report.ratio(report.series[0]) is None

    def test_a_floor_of_nothing_is_none(self):
        report = report_of(("bare", [0], None), ("ours", [5], "bare"))
        assert report.ratio(report.series[1]) is None


class TestPercentile:
    def test_is_the_value_that_99_of_100_do_not_exceed(self):
        report = report_of(("ours", range(1, 101), None))
        assert report.series[0].p99 == 99

    def test_means_nothing_with_few_values(self):
        report = report_of(("ours", range(49), None))
        assert report.series[0].p99 is None


class TestTable:
    def test_has_a_line_for_each_series_under_its_group(self):
        report = report_of(("bare", [2], None), ("ours", [5], "bare"))
        header, group, bare, ours = report.table().splitlines()
        assert header.split() == ["unit", "n", "median", "p99", "x", "floor", "floor"]
        assert group == "cold"
        assert bare.split() == ["bare", "ms", "1", "2"]
        assert ours.split() == ["ours", "ms", "1", "5", "2.50", "bare"]

    def test_says_what_was_left_out_and_why(self):
        report = Report()
        report.skip("docker", "no Docker Engine answers")
        assert report.table() == "docker: left out, no Docker Engine answers"

    def test_shows_what_came_since(self):
        report = report_of(("first", [1], None), ("second", [2], None))
        assert "first" not in report.table(since=1)

    def test_a_series_without_values_is_none(self):
        assert report_of(("ours", [], None)).series == []


def test_the_document_has_every_value():
    report = report_of(("bare", [2, 4], None), ("ours", [6], "bare"))
    report.skip("docker", "none here")
    document = report.document()
    assert [series["values"] for series in document["series"]] == [[2, 4], [6]]
    assert [series["ratio"] for series in document["series"]] == [None, 2]
    assert document["skipped"] == [{"group": "docker", "reason": "none here"}]
