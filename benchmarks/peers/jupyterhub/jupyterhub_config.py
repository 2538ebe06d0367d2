"""The measured hub: one service with a token, spawners that start the minimal server.

Settings of a run are JSON in USHER_BENCHMARK_HUB; see benchmarks/jupyterhub.py.
"""

import json
import os

given = json.loads(os.environ["USHER_BENCHMARK_HUB"])
c = get_config()  # noqa: F821  the loader puts it there

c.JupyterHub.bind_url = f"http://127.0.0.1:{given['port']}"
c.JupyterHub.hub_port = given["hub_port"]
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{given['proxy_port']}"
c.ConfigurableHTTPProxy.command = given["proxy"]
c.JupyterHub.db_url = f"sqlite:///{given['folder']}/hub.sqlite"
c.JupyterHub.cookie_secret_file = f"{given['folder']}/cookie_secret"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.services = [{"name": "benchmark", "api_token": given["token"]}]
c.JupyterHub.load_roles = [
    {
        "name": "benchmark",
        "scopes": ["admin:users", "admin:servers"],
        "services": ["benchmark"],
    }
]
# As many as are asked for may start at once, and each is waited for.
c.JupyterHub.concurrent_spawn_limit = 0
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 60}
c.Spawner.environment = {"USHER_BENCHMARK": given["mark"]}
if given["image"]:
    c.JupyterHub.spawner_class = "docker"
    c.DockerSpawner.image = given["image"]
    c.DockerSpawner.cmd = ["server.py"]  # the image has its entry point
    c.DockerSpawner.remove = True
    c.DockerSpawner.name_template = f"usher-benchmark-{given['mark'][:8]}-{{username}}"
    c.DockerSpawner.extra_create_kwargs = {"labels": {"usher.benchmark": given["mark"]}}
else:
    c.JupyterHub.spawner_class = "simple"
    c.SimpleLocalProcessSpawner.home_dir_template = f"{given['folder']}/{{username}}"
    c.Spawner.cmd = given["command"]
