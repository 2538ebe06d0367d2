"""Dashboards from the declared metrics: for CloudWatch (in the template) and Grafana (a file).

`make dashboards` writes both; a test compares them. Only `main` writes files.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.observe.metrics import BY_NAME, METRICS, Kind, Metric

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "infra" / "template.yaml"
DOCS = ROOT / "docs" / "operations.md"
GRAFANA = ROOT / "infra" / "observe" / "grafana.json"
BEGIN = "      # Made by `make dashboards`.\n      DashboardBody:\n        Fn::Sub: >-\n"
END = "  # ---- End of the dashboard\n"
PERIOD_SECONDS = 60
COLUMNS = 24
WIDTH, HEIGHT = 8, 6


@dataclass(frozen=True)
class Panel:
    """One graph: its metrics, and CloudWatch's statistics for summaries."""

    title: str
    metrics: tuple[str, ...]
    statistics: tuple[str, ...] = ("Average",)


PANELS = (
    Panel("Sessions handed out", ("dispatched",)),
    Panel("Time to address, warm", ("time_to_claim_seconds",), ("p50", "p99")),
    Panel("Time to address, cold", ("time_to_address_seconds",), ("p50", "p99")),
    Panel("Sessions by app and state", ("sessions",)),
    Panel("Warm containers", ("pool_warm", "pool_members")),
    Panel("How sessions end", ("sessions_ended",)),
    Panel("Refused requests", ("refused",)),
    Panel("Starts that ECS refused", ("launch_failures", "job_launch_failures")),
    Panel("Failed starts in a row", ("breaker_failures", "job_breaker_failures")),
    Panel("Waiting for capacity", ("queue_waiting", "waiting_for_hosts")),
    Panel("Time from record to ready", ("start_seconds",), ("p50", "p99")),
    Panel("Orphans and repairs", ("orphans_stopped", "sweep_actions", "records_unreadable")),
    Panel("Age of the last whole sweep", ("sweep_pass_age_seconds", "sweep_pass_seconds")),
    Panel("Invocations by state", ("invocations",)),
    Panel("How invocations end", ("jobs_ended",)),
    Panel("Jobs: oldest that waits", ("job_queue_age_seconds",)),
    Panel("Jobs: places taken", ("job_places_taken",)),
    Panel("Jobs: wait and run", ("job_wait_seconds", "job_run_seconds"), ("p50", "p99")),
    Panel("Gradings: time to the verdict", ("grading_seconds",), ("p50", "p99")),
    Panel("Gradings that wait", ("gradings_waiting", "grading_queue_age_seconds")),
    Panel("Gradings that failed", ("grading_internal_errors", "gradings_repeated")),
    Panel("Feed: lag of the relay", ("feed_relay_lag_seconds",), ("p50", "p99")),
    Panel("Feed: records", ("feed_records_relayed", "feed_records_repeated")),
    Panel("Feed: failed batches", ("feed_relay_failures",)),
)


def cloudwatch() -> dict[str, Any]:
    """The body of a CloudWatch dashboard; `${Stage}` and `${AWS::Region}` are filled in."""
    return {
        "widgets": [
            {
                "type": "metric",
                **_place(number),
                "width": WIDTH,
                "height": HEIGHT,
                "properties": {
                    "title": panel.title,
                    "view": "timeSeries",
                    "region": "${AWS::Region}",
                    "period": PERIOD_SECONDS,
                    "metrics": [
                        [{"expression": expression, "id": f"e{index}", "label": ""}]
                        for index, expression in enumerate(_searches(panel))
                    ],
                },
            }
            for number, panel in enumerate(PANELS)
        ]
    }


def _place(number: int) -> dict[str, int]:
    each = COLUMNS // WIDTH
    return {"x": number % each * WIDTH, "y": number // each * HEIGHT}


def _searches(panel: Panel) -> list[str]:
    """Search expressions, which find a metric for every app or job."""
    found = []
    for metric in map(BY_NAME.__getitem__, panel.metrics):
        dimensions = ",".join(("Usher", "stage", *metric.labels))
        statistics = {Kind.COUNT: ("Sum",), Kind.GAUGE: ("Maximum",)}.get(
            metric.kind, panel.statistics
        )
        found += [
            f'SEARCH(\'{{{dimensions}}} MetricName="{metric.name}" stage="${{Stage}}"\', '
            f"'{statistic}', {PERIOD_SECONDS})"
            for statistic in statistics
        ]
    return found


def grafana() -> dict[str, Any]:
    """A Grafana dashboard over Prometheus, whose data source is selected at import."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "title": "Usher",
        "uid": "usher",
        "schemaVersion": 39,
        "version": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]
        },
        "panels": [
            {
                "id": number + 1,
                "type": "timeseries",
                "title": panel.title,
                "datasource": source,
                "gridPos": {**_place(number), "w": WIDTH, "h": HEIGHT},
                "targets": [
                    {"refId": chr(65 + index), "expr": expression, "legendFormat": legend}
                    for index, (expression, legend) in enumerate(_queries(panel))
                ],
            }
            for number, panel in enumerate(PANELS)
        ],
    }


def _queries(panel: Panel) -> list[tuple[str, str]]:
    return [_query(BY_NAME[name]) for name in panel.metrics]


def _query(metric: Metric) -> tuple[str, str]:
    by = f" by ({', '.join(metric.labels)})" if metric.labels else ""
    legend = " ".join((metric.name, *(f"{{{{{label}}}}}" for label in metric.labels)))
    names = metric.prometheus
    if metric.kind is Kind.COUNT:
        return f"sum{by} (rate({names[0]}[5m]))", legend
    if metric.kind is Kind.GAUGE:
        return f"max{by} ({names[0]})", legend
    mean = f"sum{by} (rate({names[0]}[5m])) / sum{by} (rate({names[1]}[5m]))"
    return mean, f"{legend} mean"


def metrics_of(text: str) -> set[str]:
    """Every metric that a dashboard's text names, in either form."""
    return set(re.findall(r'MetricName=\\?"(\w+)\\?"', text)) | set(
        re.findall(r"\b(usher_\w+)", text)
    )


def in_template(template: str) -> str:
    """The template with the generated dashboard."""
    before, rest = template.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    widgets = [json.dumps(widget) for widget in cloudwatch()["widgets"]]
    lines = ['{"widgets": [', *(f"{widget}," for widget in widgets[:-1]), widgets[-1], "]}"]
    body = "".join(f"          {line}\n" for line in lines)
    return f"{before}{BEGIN}{body}\n{END}{after}"


def in_docs(page: str) -> str:
    """docs/operations.md with the generated table of metrics."""
    head = "| name | kind, labels | meaning |\n|---|---|---|\n"
    before, rest = page.split(head, 1)
    _, after = rest.split("\n\n", 1)
    rows = [
        f"| `{m.name}` | {'; '.join(filter(None, [_KINDS[m.kind], ', '.join(m.labels)]))} "
        f"| {m.about} |"
        for m in METRICS
    ]
    return before + head + "\n".join(rows) + "\n\n" + after


_KINDS = {Kind.COUNT: "count", Kind.GAUGE: "gauge", Kind.SUMMARY: "observed"}


def main() -> None:
    """Write all three."""
    template = in_template(TEMPLATE.read_text(encoding="utf-8"))
    TEMPLATE.write_text(template, encoding="utf-8")
    DOCS.write_text(in_docs(DOCS.read_text(encoding="utf-8")), encoding="utf-8")
    GRAFANA.write_text(json.dumps(grafana(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
