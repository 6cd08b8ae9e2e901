"""How long it takes to read many clients of an authorization server, at a start and at a reload.

`python -m bench.clients [clients] [rounds]`, by default 10000 and 5. Ten files of clients: nine of ten clients are
registered by a name, half of them by `subject_dn`, and one of ten by a certificate in a file of its own. Everything is
read in a process of its own, as at a reload (`process.reload.loader`); then once more after one of the ten files has
changed. Of both: seconds on the clock, and of the processor in that process; then how long the serving process takes to
unpickle the answer, and to make clients of it.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench.statistic import spread
from sidecar.process.reload.loader import Reading, pickled, unpickled
from sidecar.proxy.authorization_server.clients import registry
from sidecar.settings.configuration import Loaded
from tests.support.client_files import Clients
from tests.support.pki import Pki, Profile, self_signed

FILES: Final = 10
_BY_CERTIFICATE: Final = 10
"""One client of so many is registered by its certificate."""


def main(arguments: Sequence[str]) -> int:
    """Prints a table."""
    many = int(arguments[0]) if arguments else 10_000
    rounds = int(arguments[1]) if len(arguments) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        clients = Clients.create(Path(folder), Pki.create())
        write(clients, many)
        seen: dict[str, list[float]] = {}
        for one in range(rounds):
            _round(clients, many, one, seen)
    for what, seconds in seen.items():
        of = spread(seconds)
        print(f"{what:58}{of.middle:7.2f} s (± {of.percent:.0f} %)")
    return 0


def write(clients: Clients, many: int) -> None:
    """Ten files of clients, and the certificates that some of them name."""
    key = clients.own.key
    for number in range(many):
        if not _is_by_certificate(number):
            continue
        (clients.folder / f"c{number}.crt").write_bytes(self_signed(Profile(f"c{number}"), key).pem)
    for file in range(FILES):
        write_file(clients, file, many)


def write_file(clients: Clients, file: int, many: int, more: str = "") -> None:
    """One of the ten files."""
    rows = "".join(_client(number) for number in range(file, many, FILES))
    clients.write(f"clients:\n{rows}{more}", f"f{file}.yaml")


def _client(number: int) -> str:
    head = f"  - {{client_id: c{number}, method: "
    if _is_by_certificate(number):
        return f"{head}self_signed_tls_client_auth, certificate_files: [../c{number}.crt]}}\n"
    name = f'subject_dn: "CN=c{number},O=Bank,C=DE"' if number % 2 else f"san_dns: c{number}.example"
    return f"{head}tls_client_auth, ca_file: ../ca.crt, {name}}}\n"


def _is_by_certificate(number: int) -> bool:
    return number // FILES % _BY_CERTIFICATE == 0


def _round(clients: Clients, many: int, number: int, seen: dict[str, list[float]]) -> None:
    def timed(what: str, act: Callable[[], Loaded]) -> Loaded:
        clock, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        found = act()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seen.setdefault(f"{what}, on the clock", []).append(time.perf_counter() - clock)
        busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        seen.setdefault(f"{what}, of the processor in its process", []).append(busy)
        return found

    file = clients.configuration.file
    first = timed("all of them are read", lambda: Reading(file).result())
    write_file(clients, 0, many, f"  - {{client_id: new{number}, method: other}}\n")
    again = timed("one file of ten has changed", lambda: Reading(file, 2, first.client_cache).result())
    said = pickled(again)
    server = again.authorization_server
    assert server is not None
    assert len(server.clients) == many + 2
    begun = time.perf_counter()
    unpickled(said)
    read = time.perf_counter()
    registry(server.clients, {})
    made = time.perf_counter()
    seen.setdefault("the answer is unpickled", []).append(read - begun)
    seen.setdefault("clients are made of it", []).append(made - read)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
