"""`make observe`: Prometheus for a running dispatcher, and Grafana if it is installed.

Both listen on loopback and store their data in a directory that is removed at the end.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from infra.observe.dashboards import GRAFANA

SCRAPE_SECONDS = 2


def prometheus_settings(dispatcher: str) -> str:
    """Prometheus's configuration for this dispatcher, as JSON, which is valid YAML."""
    scheme, _, target = dispatcher.rstrip("/").partition("://")
    host, _, prefix = target.partition("/")
    path = f"/{prefix}/metrics" if prefix else "/metrics"
    return json.dumps(
        {
            "global": {"scrape_interval": f"{SCRAPE_SECONDS}s"},
            "scrape_configs": [
                {
                    "job_name": "usher",
                    "scheme": scheme,
                    "metrics_path": path,
                    "static_configs": [{"targets": [host]}],
                }
            ],
        }
    )


def prometheus_command(program: str, folder: Path, port: int) -> list[str]:
    """Prometheus with its settings and its data in `folder`."""
    return [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]


def lay_out_grafana(folder: Path, prometheus: str) -> Path:
    """Grafana's provisioning files: the Prometheus data source, and the dashboard."""
    provisioning = folder / "provisioning"
    for name, document in {
        "datasources": {
            "apiVersion": 1,
            "datasources": [
                {"name": "Usher", "type": "prometheus", "url": prometheus, "isDefault": True}
            ],
        },
        "dashboards": {
            "apiVersion": 1,
            "providers": [{"name": "usher", "options": {"path": str(folder / "dashboards")}}],
        },
    }.items():
        (provisioning / name).mkdir(parents=True)
        (provisioning / name / "usher.yaml").write_text(json.dumps(document), encoding="utf-8")
    (folder / "dashboards").mkdir()
    shutil.copy(GRAFANA, folder / "dashboards")
    return provisioning


def grafana_variables(folder: Path, port: int) -> dict[str, str]:
    """Grafana's settings: without an account, on loopback."""
    return {
        "GF_PATHS_DATA": str(folder / "grafana"),
        "GF_PATHS_LOGS": str(folder / "logs"),
        "GF_PATHS_PROVISIONING": str(folder / "provisioning"),
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(port),
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
    }


def without_grafana(prometheus: str) -> str:
    """Returns instructions for machines without `grafana-server`."""
    return f"""\
Grafana: grafana-server is not installed here, and Debian has no package of it. Either
  install it (https://grafana.com/docs/grafana/latest/setup-grafana/installation/) and repeat, or,
  in a Grafana that reaches this machine:
  1. Connections > Data sources > Add: Prometheus, with the URL {prometheus}
  2. Dashboards > New > Import: {GRAFANA}
  Without it, Prometheus shows each metric at {prometheus}/graph."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.observe", description=__doc__)
    parser.add_argument("--dispatcher", default="http://127.0.0.1:8000", metavar="URL")
    parser.add_argument("--prometheus-port", type=int, default=9090, metavar="PORT")
    parser.add_argument("--grafana-port", type=int, default=3000, metavar="PORT")
    arguments = parser.parse_args()
    program = shutil.which("prometheus")
    if program is None:
        print("no prometheus: `apt-get install prometheus` on Debian has it", file=sys.stderr)
        return 1
    url = f"http://127.0.0.1:{arguments.prometheus_port}"
    processes = []
    with tempfile.TemporaryDirectory(prefix="usher-observe-") as name:
        folder = Path(name)
        settings = prometheus_settings(arguments.dispatcher)
        (folder / "prometheus.yml").write_text(settings, encoding="utf-8")
        command = prometheus_command(program, folder, arguments.prometheus_port)
        processes.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        print(f"Prometheus: {url}/graph", flush=True)
        grafana = shutil.which("grafana-server")
        if grafana is None:
            print(without_grafana(url), flush=True)
        else:
            lay_out_grafana(folder, url)
            variables = {**os.environ, **grafana_variables(folder, arguments.grafana_port)}
            home = ["--homepath", "/usr/share/grafana"]
            processes.append(
                subprocess.Popen([grafana, *home], env=variables, stdout=subprocess.DEVNULL)
            )
            print(f"Grafana: http://127.0.0.1:{arguments.grafana_port}/d/usher", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            processes[0].wait()
        except KeyboardInterrupt:
            pass
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(10)
    return 0


if __name__ == "__main__":
    sys.exit(main())
