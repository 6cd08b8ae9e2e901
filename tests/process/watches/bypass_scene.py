"""A Pod's network in miniature, played inside a network namespace of its own by `test_bypass.py`.

`unshare --user --map-root-user --net python -m tests.process.watches.bypass_scene FOLDER HOST REFUSE`: the API listens
on HOST, the Pod's own address is 10.77.0.1, and nothing outside the namespace can be reached. Prints one JSON object.
"""

import fcntl
import http.server
import json
import socket
import struct
import sys
import threading
from pathlib import Path
from typing import Any

from tests.process.world import checks, events, figures, get
from tests.support.pki import Pki
from tests.support.processes import eventually
from tests.support.sidecar import Sidecar, policy

POD_ADDRESS = "10.77.0.1"
SIOCSIFFLAGS, SIOCSIFADDR, IFF_UP = 0x8914, 0x8916, 1


def give_the_pod_its_address() -> None:
    """Loopback up, and one address that is not loopback (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
        address = struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton(POD_ADDRESS))
        fcntl.ioctl(control, SIOCSIFADDR, address)


def main() -> None:
    folder, host, refuse = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "refuse"
    give_the_pod_its_address()
    api = http.server.ThreadingHTTPServer((host, 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=api.serve_forever, daemon=True).start()
    one = Sidecar(
        folder,
        Pki.create(),
        f"http://127.0.0.1:{api.server_port}",
        policy_document=policy(rules=[{"name": "all", "match": {"path": "/**"}, "public": True}], issuers=[]),
        service={"bypass_check": {"enabled": True, "refuse_when_bypassable": refuse, "interval": "5s"}},
    )
    child = one.spawn()
    one.child = child
    try:
        eventually(lambda: "\nsidecar_upstream_bypassable " in text(one), what="the first look")
        told = settled(one, bypassable=host == "0.0.0.0")
    finally:
        child.stop()
        api.shutdown()
    told["port"] = api.server_port
    told["events"] = [event["addresses"] for event in events(one, "upstream is bypassable")]
    print(json.dumps(told))


def settled(one: Sidecar, *, bypassable: bool) -> dict[str, Any]:
    """What is told between two reads of the figures that find the port as it is, when nothing else makes it unready.

    The rest of it may start later than the look past it. On a busy machine a look may give up an open port after a
    second; the next one is taken five seconds later.
    """
    told: dict[str, Any] = {}

    def is_seen() -> bool:
        told["metric"] = before = metric(one)
        told["status"], told["body"] = get(f"{one.health_url}/readyz")
        others = checks(one)
        told["check"] = others.pop("bypass")
        return before == metric(one) == float(bypassable) and all(ok for ok, _ in others.values())

    eventually(is_seen, what="a look that finds the port as it is")
    return told


def metric(one: Sidecar) -> float:
    return figures(one)[("sidecar_upstream_bypassable",)]


def text(one: Sidecar) -> str:
    try:
        return get(f"{one.health_url}/metrics")[1]
    except OSError:
        return ""


if __name__ == "__main__":
    main()
