"""Dashboards and docs show metrics that the code emits, all that are declared, and no other."""

import ast
import json
from pathlib import Path

import yaml

from infra.observe import dashboards
from infra.observe.__main__ import lay_out_grafana, prometheus_settings, without_grafana
from infra.observe.dashboards import GRAFANA
from infra.observe.metrics import BY_NAME, METRICS, Kind
from local.aws.template import loader_of

ROOT = Path(__file__).parents[3]
KINDS = {kind.value: kind for kind in Kind}


def emitted():
    """Every call in the code: name, kind, and labels where they can be read."""
    for file in sorted((ROOT / "chalicelib").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            about = ast.unparse(node.func.value)
            if node.func.attr not in KINDS or not about.lower().endswith("metrics"):
                continue
            name = node.args[0]
            assert isinstance(name, ast.Constant), f"{file}: the name of a metric is a literal"
            labels = {keyword.arg for keyword in node.keywords} - {"amount"}
            yield name.value, KINDS[node.func.attr], None if None in labels else labels


def test_what_is_declared_is_what_the_code_emits():
    found = list(emitted())
    assert {name for name, _, _ in found} == set(BY_NAME)
    for name, kind, labels in found:
        assert BY_NAME[name].kind is kind, name
        assert labels is None or labels == set(BY_NAME[name].labels), name
    assert len(METRICS) == len(BY_NAME)


def test_docs_and_both_dashboards_are_current():
    template = dashboards.TEMPLATE.read_text(encoding="utf-8")
    assert dashboards.in_template(template) == template, "run `make dashboards`"
    page = dashboards.DOCS.read_text(encoding="utf-8")
    assert dashboards.in_docs(page) == page, "run `make dashboards`"
    assert json.loads(dashboards.GRAFANA.read_text()) == dashboards.grafana(), "make dashboards"


def test_every_metric_of_both_dashboards_is_one_that_is_emitted():
    in_prometheus = {name for metric in METRICS for name in metric.prometheus}
    template = dashboards.TEMPLATE.read_text(encoding="utf-8")
    document = yaml.load(template, loader_of(yaml.SafeLoader))
    board = document["Resources"]["OverviewDashboard"]
    body = json.loads(board["Properties"]["DashboardBody"]["Fn::Sub"])
    searched = dashboards.metrics_of(json.dumps(body).replace('\\"', '"'))
    assert searched
    assert searched <= set(BY_NAME)
    asked = dashboards.metrics_of(dashboards.GRAFANA.read_text()) - {"usher"}
    assert asked
    assert asked <= in_prometheus
    assert board["Condition"] == "HasDashboard"


def test_a_metric_that_nobody_emits_is_found():
    text = json.dumps(dashboards.grafana()).replace("usher_pool_warm", "usher_pool_hot")
    in_prometheus = {name for metric in METRICS for name in metric.prometheus}
    assert dashboards.metrics_of(text) - in_prometheus == {"usher_pool_hot"}


def test_searches_have_the_dimensions_that_metrics_are_emitted_with():
    text = json.dumps(dashboards.cloudwatch())
    assert "{Usher,stage,app,state} MetricName=" in text
    assert "500 searches" not in text
    for widget in dashboards.cloudwatch()["widgets"]:
        assert (
            len(widget["properties"]["metrics"]) <= 5
        )  # searches of one graph, CloudWatch's quota is 100


def test_observe_asks_the_dispatcher_below_its_prefix(tmp_path):
    (job,) = json.loads(prometheus_settings("https://a.example/dev/"))["scrape_configs"]
    assert job["scheme"] == "https"
    assert job["metrics_path"] == "/dev/metrics"
    assert job["static_configs"] == [{"targets": ["a.example"]}]
    lay_out_grafana(tmp_path, "http://127.0.0.1:9090")
    assert (tmp_path / "dashboards" / "grafana.json").is_file()
    source = json.loads((tmp_path / "provisioning" / "datasources" / "usher.yaml").read_text())
    assert source["datasources"][0]["url"] == "http://127.0.0.1:9090"


def test_without_grafana_it_says_which_source_and_file_another_one_needs():
    said = without_grafana("http://127.0.0.1:9191")
    assert "with the URL http://127.0.0.1:9191\n" in said
    assert f"Import: {GRAFANA}\n" in said
    assert GRAFANA.is_file()
