"""Odd requests over HTTP/2 through the sidecar, nginx, HAProxy and Envoy to an API of HTTP/1.1.

Each difference is explained in `http2_table.py` and on the page docs/http2-conformance.md.
Nothing that was not permitted gets behind the sidecar.
"""

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.differential.http2_corpus import CORPUS
from tests.differential.http2_outcome import outcome
from tests.differential.http2_table import ALL_REFUSE, HAPROXY, NGINX, REFUSED, TABLE, Row
from tests.real.proxies import envoy_proxy, haproxy_proxy, nginx_proxy
from tests.real.upstreams import nginx_program
from tests.support.debian import program
from tests.support.pki import Pki
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar, listener, policy
from tests.support.tls_client import Wire, client_context

pytestmark = pytest.mark.real

PAGE = Path(__file__).parents[2] / "docs" / "http2-conformance.md"
PERMITTED = {"/a", "/a?b=c", "/end"}
RULES = [{"name": name, "match": {"path": f"/{name}"}, "public": True} for name in ("a", "end")]


@dataclass(frozen=True, slots=True)
class Fronts:
    """Each proxy with a recording upstream of its own."""

    sidecar: Sidecar
    others: tuple[int, int, int]
    recorders: tuple[Recorder, ...]

    def outcomes(self, name: str) -> list[str]:
        wires = [self.sidecar.connect(context=client_context(alpn=("h2",)))]
        wires += [Wire.plain(port) for port in self.others]
        with ThreadPoolExecutor(4) as threads:
            return list(threads.map(outcome, wires, self.recorders, [CORPUS[name]] * 4))


@pytest.fixture(scope="module")
def fronts(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[Fronts]:
    folder = tmp_path_factory.mktemp("http2-differential")
    with ExitStack() as stack:
        recorders = tuple(stack.enter_context(Recorder()) for _ in range(4))
        first, second, third, fourth = recorders
        made = Sidecar(folder / "sidecar", pki, first.url, policy_document=policy(RULES, issuers=[]))
        document = made.service_document(first.url)
        document["listeners"] = [listener(made.port) | {"protocols": ["h2"]}]
        made.write_service(document)
        others = (
            stack.enter_context(nginx_proxy(folder, second.port, http2=True)),
            stack.enter_context(haproxy_proxy(folder, third.port)),
            stack.enter_context(envoy_proxy(folder, fourth.port, "HTTP2")),
        )
        yield Fronts(stack.enter_context(made), others, recorders)


@cache
def versions() -> tuple[bool, bool]:
    """Whether nginx and HAProxy are those of the table: others may have changed their minds."""
    said = [
        subprocess.run(command, capture_output=True, text=True, check=True)
        for command in ([nginx_program(), "-v"], [program("haproxy", "haproxy"), "-v"])
    ]
    return said[0].stderr.strip().endswith(f"/{NGINX}"), f"version {HAPROXY}" in said[1].stdout


@pytest.mark.parametrize("name", CORPUS)
def test_odd_request_is_treated_as_the_table_says(fronts: Fronts, name: str) -> None:
    row = TABLE.get(name, ALL_REFUSE)
    sidecar, nginx, haproxy, envoy = fronts.outcomes(name)
    assert sidecar == row.sidecar
    for one in fronts.recorders[0].seen:
        assert one.target in PERMITTED
        assert one.all("x-injected") == []
    assert fronts.recorders[0].broken == []
    assert envoy in expected(row, row.envoy)
    is_same_nginx, is_same_haproxy = versions()
    assert not is_same_nginx or nginx in expected(row, row.nginx)
    assert not is_same_haproxy or haproxy in expected(row, row.haproxy)


def expected(row: Row, other: str | None) -> set[str]:
    return {other or row.sidecar, row.late or other or row.sidecar}


def test_every_difference_is_explained_and_every_row_is_asked() -> None:
    assert TABLE.keys() <= CORPUS.keys()
    for name, row in TABLE.items():
        differs = any(other not in {None, row.sidecar} for other in (row.nginx, row.haproxy, row.envoy))
        assert bool(row.why) == differs, name


def test_what_another_refuses_is_passed_on_only_where_the_table_says_so() -> None:
    laxer = [
        name
        for name, row in TABLE.items()
        if row.sidecar != REFUSED and REFUSED in (row.nginx, row.haproxy, row.envoy)
    ]
    assert laxer == ["content with trailers", "Host like the authority"]


def shown(row: Row) -> str:
    cells = [row.sidecar, *(other or "the same" for other in (row.nginx, row.haproxy, row.envoy))]
    return " | ".join(cell if cell in (REFUSED, "the same") else f"`{cell}`" for cell in cells)


def test_page_shows_the_table() -> None:
    rows = [f"| {name} | {shown(row)} | {row.why} |" for name, row in TABLE.items() if row.why]
    rows.append(f"{len(CORPUS)} odd requests, {len(CORPUS) - len(TABLE)} of which all four refuse")
    page = PAGE.read_text("utf-8")
    assert [row for row in rows if row not in page] == [], "\n".join(rows)
