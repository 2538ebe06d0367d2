import json
from datetime import date
from xml.etree import ElementTree

import pytest

from jobs._chart import nice_step
from jobs.market_report import MarketReport


def report(tmp_path, records, **parameters):
    source = tmp_path / "records.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    wanted = MarketReport.Parameters(source=str(source), enough=2, weeks=4, **parameters)
    return MarketReport().run(wanted)


def sale(day, price, **more):
    return {"date": day, "price": price, "status": "sold", "suburb": "A", "type": "house", **more}


def test_weeks_are_compared_with_the_week_before_that_has_sales(tmp_path):
    result = report(
        tmp_path,
        [
            sale("2026-01-03", 100),
            sale("2026-01-04", 300),
            sale("2026-01-17", 250),
            sale("2026-01-17", 250),
            sale("2026-01-17", 250, status="passed in"),
        ],
    )
    first, second = result["weeks"]
    assert (first["name"], first["medianPrice"], first["change"]) == ("2025-12-29", 200, None)
    assert (second["medianPrice"], second["change"]) == (250, 0.25)
    assert second["against"] == "2025-12-29"
    assert second["cleared"] == pytest.approx(2 / 3, abs=1e-4)
    assert first["cleared"] is None
    assert result["weekOf"] == "2026-01-12"


def test_too_few_sales_have_no_median(tmp_path):
    result = report(tmp_path, [sale("2026-01-03", 100)])
    assert result["weeks"][0]["medianPrice"] is None
    assert result["types"] == [
        {
            "name": "house",
            "sales": 1,
            "medianPrice": None,
            "change": None,
            "against": None,
            "cleared": None,
        }
    ]


def test_what_says_nothing_is_counted_and_left_out(tmp_path):
    records = [
        sale("2026-01-03", 100),
        sale("soon", 100),
        sale("2026-01-03", None),
        sale("2026-01-03", 100, status="under offer"),
        sale("2026-01-03", 100, type="unit"),
        ["no", "record"],
    ]
    result = report(tmp_path, records, types=["house"])
    assert (result["read"], result["sales"]) == (6, 1)
    assert result["leftOut"] == {
        "without a date": 1,
        "sold without a price": 1,
        "neither sold nor passed in": 1,
        "of another type": 1,
        "not a JSON object": 1,
    }


def test_the_report_ends_where_it_is_told(tmp_path):
    records = [sale("2026-01-03", 100), sale("2026-02-03", 100)]
    assert report(tmp_path, records, until=date(2026, 1, 20))["weekOf"] == "2025-12-29"


def test_no_sales_is_an_error_that_says_why(tmp_path):
    with pytest.raises(ValueError, match=r"no sales among 1 records: .'without a date': 1"):
        report(tmp_path, [{"status": "sold"}])


def test_the_invented_market_makes_a_whole_report():
    result = MarketReport().run(MarketReport.Parameters())
    assert len(result["weeks"]) == 12
    assert len(result["suburbs"]) == 5
    assert result["text"].startswith("| week of |")
    assert len(json.dumps(result)) < 60_000
    plot = ElementTree.fromstring(result["svg"])
    bars = plot.findall("{http://www.w3.org/2000/svg}rect")
    assert len(bars) == 1 + len(result["weeks"])


@pytest.mark.parametrize(("most", "step"), [(1, 1), (4, 1), (1_075_000, 300_000), (8.1, 2.5)])
def test_grids_have_round_numbers(most, step):
    assert nice_step(most) == step
