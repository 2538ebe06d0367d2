import csv
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pydantic import ValidationError

from jobs.listing_export import SAMPLE, ListingExport

RECORDS = [
    {"id": "1", "date": "2026-01-03", "suburb": "Fernbank", "type": "house", "price": 900_000},
    {"id": "2", "date": "2026-01-10", "suburb": "fernbank", "type": "unit", "price": 500_000},
    {"id": "3", "date": "2026-01-17", "suburb": "Halyard", "type": "unit", "price": None},
    {"id": "4", "date": "2026-01-24", "suburb": "Halyard", "type": "unit", "price": 700_000},
]


@pytest.fixture
def export(tmp_path):
    source, output = tmp_path / "records.jsonl", tmp_path / "output"
    lines = [json.dumps(record) for record in RECORDS]
    source.write_text("\n".join([*lines[:2], "no record", *lines[2:]]) + "\n", encoding="utf-8")

    def run(**parameters):
        wanted = {"source": str(source), "output": str(output), **parameters}
        result = ListingExport().run(ListingExport.Parameters(**wanted))
        assert result["sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
        assert result["bytes"] == output.stat().st_size
        return result, output.read_bytes().decode()

    return run


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({}, "1234"),
        ({"suburbs": ["FERNBANK"]}, "12"),
        ({"types": ["unit"]}, "234"),
        ({"min_price": 600_000}, "14"),
        ({"max_price": 600_000}, "2"),
        ({"since": "2026-01-10", "until": "2026-01-17"}, "23"),
        ({"suburbs": ["Nowhere"]}, ""),
    ],
)
def test_records_are_picked(export, wanted, ids):
    result, text = export(format="jsonl", fields=["id"], **wanted)
    assert "".join(json.loads(line)["id"] for line in text.splitlines()) == ids
    assert result["written"] == len(ids)
    assert (result["read"], result["notRecords"]) == (5, 1)


def test_csv_has_a_header_and_the_fields_in_order(export):
    _, text = export(fields=["price", "id"])
    assert list(csv.reader(text.splitlines()))[:2] == [["price", "id"], ["900000", "1"]]


@pytest.mark.parametrize("wrong", [{"fields": []}, {"fields": ["secret"]}, {"format": "xml"}])
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValidationError):
        ListingExport.Parameters(**wrong)


def test_the_sample_is_bounded():
    result = ListingExport().run(ListingExport.Parameters(fields=["id"]))
    assert result["written"] > 1_000
    assert len(result["sample"]) == SAMPLE


def test_a_complete_file_is_uploaded(export):
    taken = []

    class Bucket(BaseHTTPRequestHandler):
        def do_PUT(self):
            taken.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Bucket) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        result, text = export(upload_to=f"http://127.0.0.1:{server.server_port}/export")
        thread.join()
    assert taken == [text.encode()]
    assert result["uploaded"]
