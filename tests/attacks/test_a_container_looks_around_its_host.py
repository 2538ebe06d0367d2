"""A session's container, taken over, looks around on the host that it runs on.

Goal: the host's credentials at the metadata service, the ports of the ECS agent, and other users'
containers. Reach: the bridge, the gateway's and the host's private address, also while Docker or
the host starts again.

One network namespace is the host: a real dockerd in it makes the bridge and its chains, and the
packet filter is what the user data of a host writes. Namespaces on the bridge are containers, one
beyond the host's outer interface is the VPC: clients, and the metadata service at its address.
"""

import subprocess
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path

import pytest

from local.aws.template import load_template
from tests.needs import needs_namespaces
from tests.session_process import until

ROOT = Path(__file__).parents[2]
METADATA = "169.254.169.254"
CREDENTIALS = "169.254.170.2"
OUTSIDE, HOST, GATEWAY = "10.99.0.1", "10.99.0.2", "172.17.0.1"
CONTAINERS = ("172.17.0.10", "172.17.0.11")
AGENT_PORTS = (51678, 51679, 51680)
SESSION, PUBLISHED, SSH = 8080, 32768, 22

LISTENER = """
import selectors, socket, sys
waiting = selectors.DefaultSelector()
for port in map(int, sys.argv[1:]):
    listener = socket.create_server(("", port))
    waiting.register(listener, selectors.EVENT_READ)
print("listening", flush=True)
while True:
    for key, _ in waiting.select():
        key.fileobj.accept()[0].close()
"""
PROBE = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3])).close()
except TimeoutError:
    sys.exit(9)
"""


def user_data() -> str:
    template = load_template((ROOT / "infra" / "template.yaml").read_text("utf-8"))
    data = template["Resources"]["HostTemplate"]["Properties"]["LaunchTemplateData"]["UserData"]
    return data["Fn::Base64"]["Fn::Sub"][0]


def filter_script() -> str:
    return user_data().split("<<'FILTER'\n")[1].split("FILTER\n")[0]


def run(*command: str, check: bool = True) -> subprocess.CompletedProcess:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0 or not check, (command, done.stderr)
    return done


class Network:
    """The namespaces, and what runs in them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._tag = uuid.uuid4().hex[:6]
        self._engine: subprocess.Popen | None = None
        for name in ("host", "vpc", "c0", "c1"):
            run("ip", "netns", "add", self.name(name))
            stack.callback(run, "ip", "netns", "delete", self.name(name), check=False)
            self.inside(name, "ip", "link", "set", "lo", "up")
        self._link_vpc()
        stack.callback(self.stop_engine)
        self.start_engine()
        for number, address in enumerate(CONTAINERS):
            self._link_container(f"c{number}", address)
            self.listen(f"c{number}", SESSION)
        self.let_ecs_in()
        self.listen("vpc", 80)
        self.listen("host", SSH, PUBLISHED, *AGENT_PORTS)

    def name(self, role: str) -> str:
        return f"usher-{self._tag}-{role}"

    def inside(self, role: str, *command: str, check: bool = True) -> subprocess.CompletedProcess:
        return run("ip", "netns", "exec", self.name(role), *command, check=check)

    def start_engine(self) -> None:
        """A dockerd with folders of its own; its bridge is there when it answers."""
        folder = self._folder
        socket = f"unix://{folder}/docker.sock"
        with (folder / "dockerd.log").open("ab") as log:
            self._engine = subprocess.Popen(
                [
                    # Not `ip netns exec`, which mounts a /sys without control groups.
                    *("nsenter", f"--net=/run/netns/{self.name('host')}"),
                    *("dockerd", "--host", socket),
                    *("--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"),
                    *("--pidfile", f"{folder}/pid", "--storage-driver", "vfs"),
                    *("--bip", f"{GATEWAY}/16", "--config-file", f"{folder}/daemon.json"),
                ],
                stdout=log,
                stderr=log,
            )
        until(lambda: self._answers(socket), "a Docker Engine in the namespace")

    def _answers(self, socket: str) -> bool:
        assert self._engine is not None
        said = (self._folder / "dockerd.log").read_text("utf-8", "replace")[-2000:]
        assert self._engine.poll() is None, said
        return run("docker", "--host", socket, "version", check=False).returncode == 0

    def stop_engine(self) -> None:
        if self._engine is not None:
            self._engine.terminate()
            self._engine.wait(30)
            self._engine = None

    def _link_vpc(self) -> None:
        veth = ("link", "add", "eth0", "netns", self.name("host"), "type", "veth")
        run("ip", *veth, "peer", "name", "eth0", "netns", self.name("vpc"))
        for role, address in (("host", HOST), ("vpc", OUTSIDE)):
            self.inside(role, "ip", "address", "add", f"{address}/24", "dev", "eth0")
            self.inside(role, "ip", "link", "set", "eth0", "up")
        self.inside("vpc", "ip", "address", "add", f"{METADATA}/32", "dev", "lo")
        self.inside("host", "ip", "route", "add", "default", "via", OUTSIDE)

    def _link_container(self, role: str, address: str) -> None:
        veth = ("link", "add", f"veth-{role}", "netns", self.name("host"), "type", "veth")
        run("ip", *veth, "peer", "name", "eth0", "netns", self.name(role))
        self.inside("host", "ip", "link", "set", f"veth-{role}", "master", "docker0", "up")
        self.inside(role, "ip", "address", "add", f"{address}/16", "dev", "eth0")
        self.inside(role, "ip", "link", "set", "eth0", "up")
        self.inside(role, "ip", "route", "add", "default", "via", GATEWAY)

    def let_ecs_in(self) -> None:
        """Set the host up as ecs-init does: tasks get credentials from the loopback's agent."""
        self.inside("host", "sysctl", "--quiet", "-w", "net.ipv4.conf.all.route_localnet=1")
        to_agent = ("-p", "tcp", "-d", CREDENTIALS, "--dport", "80", "-j", "DNAT")
        at = ("--to-destination", "127.0.0.1:51679")
        self.inside("host", "iptables", "-t", "nat", "-A", "PREROUTING", *to_agent, *at)
        # Docker adds this for a port that a container publishes.
        self.publish()

    def publish(self) -> None:
        to = ("-p", "tcp", "--dport", "40000", "-j", "DNAT")
        to += ("--to-destination", f"{CONTAINERS[0]}:{SESSION}")
        self.inside("host", "iptables", "-t", "nat", "-A", "DOCKER", "!", "-i", "docker0", *to)
        into = ("-d", CONTAINERS[0], "!", "-i", "docker0", "-o", "docker0", "-p", "tcp")
        self.inside(
            "host", "iptables", "-A", "DOCKER", *into, "--dport", str(SESSION), "-j", "ACCEPT"
        )

    def listen(self, role: str, *ports: int) -> None:
        command = ("ip", "netns", "exec", self.name(role), sys.executable, "-c", LISTENER)
        process = subprocess.Popen([*command, *map(str, ports)], stdout=subprocess.PIPE, text=True)
        self._stack.callback(process.wait, 30)
        self._stack.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"

    def filter(self) -> None:
        file = self._folder / "usher-packet-filter"
        file.write_text(filter_script(), "utf-8")
        self.inside("host", "bash", str(file))

    def reaches(self, role: str, address: str, port: int, seconds: float) -> bool:
        """Whether a connection is made; a packet that is dropped gets no answer at all."""
        probe = (sys.executable, "-c", PROBE, address, str(port), str(seconds))
        done = self.inside(role, *probe, check=False)
        assert done.returncode in {0, 9}, done.stderr
        return done.returncode == 0

    def open_ways(self, ways: list[tuple[str, str, int]], *, expected: bool) -> list:
        """Returns the ways that are open. A way that should be closed gets a shorter timeout."""
        return [way for way in ways if self.reaches(*way, 10.0 if expected else 1.0)]


MEANT = [
    ("host", METADATA, 80),  # the agent's own credentials
    ("c0", CREDENTIALS, 80),  # a task's
    ("c0", OUTSIDE, 80),  # callbacks, feeds
    ("vpc", HOST, 40000),  # a session's published port
    ("host", CONTAINERS[1], SESSION),  # Docker's proxy of published ports
    ("vpc", HOST, PUBLISHED),
    ("host", "127.0.0.1", 51678),
]
CLOSED = [
    ("c0", METADATA, 80),
    *(("c0", GATEWAY, port) for port in AGENT_PORTS),
    *(("vpc", HOST, port) for port in AGENT_PORTS),
    ("c0", CONTAINERS[1], SESSION),
    ("c0", GATEWAY, PUBLISHED),
    ("c0", HOST, PUBLISHED),
    ("c0", HOST, SSH),
]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("engine")
        (folder / "daemon.json").write_text("{}", "utf-8")
        yield Network(folder, stack)


@needs_namespaces
def test_without_the_filter_every_way_is_open(network):
    """Otherwise what the other tests find closed would show nothing."""
    assert network.open_ways([*MEANT, *CLOSED], expected=True) == [*MEANT, *CLOSED]


@needs_namespaces
def test_with_the_filter_what_is_meant_is_open_and_nothing_else(network):
    network.filter()
    assert network.open_ways(MEANT, expected=True) == MEANT
    assert network.open_ways(CLOSED, expected=False) == []


@needs_namespaces
def test_the_filter_holds_after_a_restart_of_docker_and_is_set_once(network):
    """The unit is PartOf docker.service: systemd runs the script after each start."""
    network.stop_engine()
    assert network.open_ways(CLOSED, expected=False) == [], "while Docker is down"
    network.start_engine()
    network.filter()
    network.filter()
    network.publish()
    assert network.open_ways(MEANT, expected=True) == MEANT
    assert network.open_ways(CLOSED, expected=False) == []
    for chain in ("DOCKER-USER", "INPUT"):
        rules = network.inside("host", "iptables", "-S", chain).stdout.splitlines()
        assert len(rules) == len(set(rules)), rules


@needs_namespaces
def test_the_filter_is_set_again_where_all_rules_were_lost(network):
    """Start state as after a reboot: the kernel has no rules, Docker adds its own, the unit
    ours.
    """
    network.stop_engine()
    for table in ("filter", "nat"):
        network.inside("host", "iptables", "-t", table, "-F")
        network.inside("host", "iptables", "-t", table, "-X")
    network.start_engine()
    network.filter()
    network.let_ecs_in()
    assert network.open_ways(MEANT, expected=True) == MEANT
    assert network.open_ways(CLOSED, expected=False) == []
