"""A collector of OTLP over HTTP: `spans` are what it was sent, with their service."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Collector:
    def __init__(self):
        self.spans = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                assert self.path == "/v1/traces"
                assert self.headers["Content-Type"] == "application/json"
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for resource in body["resourceSpans"]:
                    about = attributes(resource["resource"])
                    for scope in resource["scopeSpans"]:
                        outer.spans += [
                            span | {"service": about["service.name"]} for span in scope["spans"]
                        ]
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def named(self, name):
        """The spans of this name; one that was sent twice counts once, by its id."""
        return list({s["spanId"]: s for s in self.spans if s["name"] == name}.values())

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def attributes(document):
    return {each["key"]: each["value"]["stringValue"] for each in document["attributes"]}
