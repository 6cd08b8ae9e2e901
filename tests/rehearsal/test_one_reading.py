"""The data plane, `sidecar explain`, the admin page's question and policy cases say the same of every request.

One corpus of requests goes through all four, under a policy that enforces and under one that reports: equal verdict,
status, reason, rule and challenge.
"""

import asyncio
import json
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sidecar.authorizer import Authorizer
from sidecar.command import explain as command
from sidecar.decision.permit import Permit
from sidecar.decision.ports import KeySet
from sidecar.rehearsal import question
from sidecar.rehearsal.key_sources import FixedKeys, local_keys
from sidecar.rehearsal.trial.played_issuers import PlayedIssuers
from sidecar.rehearsal.trial.run import Stage
from sidecar.settings.case_sections import Case, CaseExpectation, CaseRequest, CaseTls
from sidecar.settings.cases import PolicyCase
from sidecar.settings.configuration import Loaded
from tests.support.configuration import ISSUER, SERVICE, Configuration
from tests.support.conversation import Conversation
from tests.support.mint import SigningKey, jwks, tampered
from tests.support.pki import Identity, Pki
from tests.support.records import STARTED
from tests.support.world import Keys

RULES = """\
rules:
  - name: health
    match: {path: /healthz}
    public: true
  - name: read
    match: {methods: [GET, HEAD], path: "/accounts/{id}"}
    require: {scopes: [accounts:read], claims: {tenant: acme}}
    identity_headers: {X-Tenant: tenant}
  - name: any
    match: {path: "/any/**"}
    cors_preflight: true
  - name: host
    match: {host: inside.example.com, path: /host}
  - name: query
    match: {path: /query, query: {present: [kind]}}
  - name: strong
    match: {path: /strong}
    require: {acr: urn:mfa, max_authentication_age: 5m}
  - name: partner
    match: {path: /partner}
    require: {client_certificate: {san_uri: "spiffe://prod/**"}}
  - name: modern
    match: {path: /modern}
    require: {tls: {minimum_version: "1.3", groups: [X25519MLKEM768, P-256]}}
  - name: options
    match: {methods: [OPTIONS], path: "*"}
"""
ENFORCING = (
    SERVICE + "protected_resource: {resource: https://api.example.com}\nrealm: accounts\n"
    "limits: {target_bytes: 4KiB, header_bytes: 16KiB, headers: 40}\n"
)
REPORTING = SERVICE + "disclose_reasons: false\n"
TARGETS = [
    "/", "/accounts/7", "/accounts/7?x=1", "/accounts/7?a=b&a=c", "/accounts/%37", "/accounts/a%20b", "/accounts/",
    "/accounts/7/8", "/accounts/..%2f7", "/accounts/%2e%2e", "/accounts//7", "/accounts/7;v=1", "/accounts/a%5Cb",
    "/accounts/a%00b", "/accounts/a%zz", "/accounts/%c3%a9", "/accounts/é", "/accounts/日本", "/any", "/any/a/b",
    "/any/./a", "/any/a/../b", "/query", "/query?kind=full", "/query?kind=full&kind=none", "/query?kind=%66ull",
    "/query?kind=full#a", "/accounts/7#fragment", "/a b", "*", "//evil/accounts/7", "/healthz",
    "/healthz?access_token=x", "/accounts/7?access_token=x", "/" + "x" * 5000,
    "/.well-known/oauth-protected-resource", "/any/" + "%41" * 300,
]  # fmt: skip
METHODS = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "PURGE", "get",
    "FROB", "G T", "GÉT", "QUERY",
]  # fmt: skip
HOSTS = [
    "inside.example.com", "INSIDE.example.com", "inside.example.com.", "inside.example.com:8443",
    "inside.example.com:",
    "outside.example.com", "a b", "user@inside.example.com", "[::1]", "[::1]:443", "[zz]",
    "inside.example.com:99999999",
    "", "in/side", "inside.example.com\tx", "é.example.com",
]  # fmt: skip
HEADERS: list[dict[str, list[str]]] = [
    {"Authorization": ["Basic eDp5"]},
    {"Authorization": ["Bearer"]},
    {"Authorization": ["Bearer "]},
    {"Authorization": ["Bearer a b"]},
    {"Authorization": ["Bearer a", "Bearer a"]},
    {"Authorization": ["bearer x.y.z"]},
    {"Authorization": ["DPoP x.y.z"]},
    {"Authorization": ["Bearer é"]},
    {"Authorization": [""]},
    {"Connection": ["authorization"]},
    {"Connection": ["host"]},
    {"Connection": ["close, x-a"], "X-A": ["b"]},
    {"Transfer-Encoding": ["gzip, chunked"]},
    {"Transfer-Encoding": ["chunked"], "Content-Length": ["3"]},
    {"Transfer-Encoding": ["chunked"]},
    {"Content-Length": ["3"]},
    {"Content-Length": ["3", "4"]},
    {"Content-Length": ["+3"]},
    {"Content-Length": ["3, 3"]},
    {"Expect": ["100-continue"]},
    {"Expect": ["200-ok"]},
    {"Upgrade": ["websocket"], "Connection": ["upgrade"]},
    {"Upgrade": ["websocket"], "Connection": ["upgrade"], "Content-Length": ["3"]},
    {"X-Tenant": ["forged"]},
    {"X_Tenant": ["forged"]},
    {"Bad Name": ["x"]},
    {"X-Null": ["a\0b"]},
    {"X-Folded": ["a\r\n b"]},
    {"X-Long": ["x" * 20000]},
    {f"X-{number}": ["y"] for number in range(60)},
    {"Origin": ["https://app.example"], "Access-Control-Request-Method": ["GET"]},
    {"Origin": ["https://app.example"]},
]
TOKENS = [
    "good", "bound to another", "unbound", "expired", "not yet", "of another audience", "without scope",
    "of another tenant", "tampered", "of an unknown issuer", "opaque", "encrypted", "two parts", "too large",
    "of a wrong type", "without exp", "with a confirmation that nobody knows", "with a malformed confirmation",
    "strong",
]  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """One request of the corpus."""

    method: str = "GET"
    target: str = "/accounts/7"
    host: str = "api.example.com"
    headers: Mapping[str, list[str]] = field(default_factory=dict)
    token: str = ""
    """A name in `TOKENS`; empty: none."""
    has_certificate: bool = True
    tls: str = ""
    """Version and group, with a slash between them; empty: nobody knows."""


def corpus() -> Iterator[Asked]:
    yield from (Asked(target=target, token=token) for target in TARGETS for token in ("", "good"))
    yield from (Asked(method, "/any/a", token="good") for method in METHODS)
    yield from (Asked(method, "*", token="good") for method in ("OPTIONS", "GET"))
    yield from (Asked(target="/host", host=host, token="good") for host in HOSTS)
    yield from (Asked(headers=headers) for headers in HEADERS)
    yield from (Asked("OPTIONS", "/any/a", headers=headers) for headers in HEADERS)
    yield from (Asked(token=token, has_certificate=has) for token in TOKENS for has in (True, False))
    yield from (Asked(target=target, token="strong") for target in ("/strong", "/partner"))
    yield from (Asked(target=target, token="good") for target in ("/strong", "/partner"))
    for tls in ("", "1.3", "1.2/P-256", "1.3/P-256", "1.3/X25519", "1.3/X25519MLKEM768"):
        yield Asked(target="/modern", token="good", tls=tls)
    yield Asked("HEAD", "/.well-known/oauth-protected-resource")
    yield Asked("POST", "/.well-known/oauth-protected-resource")


class Said(NamedTuple):
    """What one of the four says of a request."""

    passes: bool
    status: int
    reason: str | None
    rule: str | None
    challenge: str | None


def minted(kind: str, key: SigningKey, pki: Pki) -> str:
    """The token of a kind, valid at `STARTED`."""
    times: dict[str, Any] = {"iat": int(STARTED) - 10, "exp": int(STARTED) + 600, "tenant": "acme"}
    client = pki.client
    match kind:
        case "good":
            return key.token(client, **times)
        case "bound to another":
            return key.token(pki.other_client, **times)
        case "unbound":
            return key.token(None, **times)
        case "expired":
            return key.token(client, **times | {"exp": int(STARTED) - 400})
        case "not yet":
            return key.token(client, **times | {"nbf": int(STARTED) + 500})
        case "of another audience":
            return key.token(client, **times, aud="https://elsewhere.example.com")
        case "without scope":
            return key.token(client, **times, scope="other")
        case "of another tenant":
            return key.token(client, **times | {"tenant": "other"})
        case "tampered":
            return tampered(key.token(client, **times), sub="mallory")
        case "of an unknown issuer":
            return key.token(client, **times, iss="https://evil.example.com")
        case "without exp":
            return key.token(client, without=["exp"], **{**times, "exp": 0})
        case "with a confirmation that nobody knows":
            return key.token(client, **times, cnf={"osc": "x"})
        case "with a malformed confirmation":
            return key.token(client, **times, cnf="x")
        case "strong":
            return key.token(client, **times, acr="urn:mfa", auth_time=int(STARTED) - 20)
        case "of a wrong type":
            return key.token(client, {"typ": "JWT"}, **times)
        case _:
            return {"opaque": "abc", "encrypted": "a.b.c.d.e", "two parts": "a.b", "too large": "x" * 17000}[
                kind
            ]


class Published(PlayedIssuers):
    """Issuers of cases that publish the key of the other three."""

    own: KeySet

    def keys(self, issuer: str) -> KeySet:
        return self.own


@dataclass
class Four:
    """One configuration, asked in four ways."""

    folder: Path
    loaded: Loaded
    keys: Keys
    pki: Pki
    tokens: Mapping[str, str]
    local: FixedKeys

    def authorizer(self) -> Authorizer:
        limits = self.loaded.proxy.limits
        return Authorizer(
            self.loaded.policy,
            self.keys,
            digest_key=b"x" * 32,
            elapsing=float,
            token_bytes=limits.token_bytes,
        )

    def certificate(self, asked: Asked) -> Identity | None:
        return self.pki.client if asked.has_certificate else None

    def live(self, asked: Asked) -> Said:
        proxy, metadata = self.loaded.proxy, self.loaded.metadata
        with Conversation(listener=proxy.listeners[0], upstream=proxy.upstream) as talk:

            async def serve() -> None:
                talk.server.replace(
                    proxy,
                    self.authorizer(),
                    generation=1,
                    documents=self.loaded.documents,
                    resource_metadata=metadata.url if metadata else None,
                )

            talk.loop.run_until_complete(serve())
            version, _, group = asked.tls.partition("/")
            talk.tls.negotiates = (version, group)
            client = talk.client(self.certificate(asked))
            fields = [("Host", asked.host)]
            fields += [(name, value) for name, values in asked.headers.items() for value in values]
            if asked.token:
                fields.append(("Authorization", f"Bearer {self.tokens[asked.token]}"))
            lines = [
                f"{asked.method} {asked.target} HTTP/1.1",
                *(f"{name}: {value}" for name, value in fields),
            ]
            client.says("\r\n".join([*lines, "", ""]).encode())
            if not talk.untouched:
                talk.upstream().says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            answer = client.answer(asked.method)
            client.leaves()
            record = talk.record
            decision = record.decision
            passes = isinstance(decision, Permit)
            denial = decision.would_deny if isinstance(decision, Permit) else None
            reason = record.reason or (denial.reason if denial else None)
            rule = decision.rule.name if isinstance(decision, Permit) else decision.rule if decision else None
            return Said(
                passes,
                answer.status,
                reason.value if reason else None,
                rule,
                answer.header("WWW-Authenticate"),
            )

    def explained(self, asked: Asked) -> Said:
        words = ["--config=unused", "--at=2027-01-15T08:00:00Z"]
        words += ["--method", asked.method, f"--url={asked.target}", "--header", f"Host: {asked.host}"]
        for name, values in asked.headers.items():
            words += [word for value in values for word in ("--header", f"{name}: {value}")]
        if asked.has_certificate:
            words += ["--certificate", str(self.folder / "client.crt")]
        words += ["--tls", asked.tls]
        parser = ArgumentParser()
        command.configure(parser)
        token = self.tokens[asked.token] if asked.token else ""
        asks = command.question_of(self.loaded, parser.parse_args(words), token)
        return self.of_document(
            asyncio.run(command.explained(self.loaded, asks, self.local, token, offline=False)).document()
        )

    def questioned(self, asked: Asked) -> Said:
        lines = [f"Host: {asked.host}"]
        lines += [f"{name}: {value}" for name, values in asked.headers.items() for value in values]
        form = {
            "method": asked.method,
            "url": asked.target,
            "headers": lines,
            "token": self.tokens[asked.token] if asked.token else "",
            "certificate": self.pki.client.pem.decode() if asked.has_certificate else "",
            "tls": asked.tls,
        }
        return self.of_document(asyncio.run(question.answer(form, self.authorizer(), self.loaded, STARTED)))

    @staticmethod
    def of_document(document: Mapping[str, Any]) -> Said:
        return Said(*(document[name] for name in ("permit", "status", "reason", "rule", "challenge")))

    @staticmethod
    def tls(asked: Asked) -> CaseTls | None:
        version, _, group = asked.tls.partition("/")
        said = {"version": version} | ({"group": group} if group else {})
        return CaseTls.model_validate(said) if version else None

    def played(self, asked: Asked) -> Said:
        headers: dict[str, str | list[str]] = dict(asked.headers)
        if asked.token:
            headers["Authorization"] = [f"Bearer {self.tokens[asked.token]}"]
        request = CaseRequest.model_construct(
            method=asked.method, target=asked.target, host=asked.host, listener=None, headers=headers
        )
        case = PolicyCase(
            Case.model_construct(name="one", expect=CaseExpectation(status=200)),
            "here:1",
            None,
            request,
            "client",
            self.tls(asked),
            None,
            {},
        )
        if not asked.has_certificate:
            case = replace(case, certificate=None)
        issuers = Published(self.loaded.policy)
        issuers.own = self.keys.keys("https://as.example.com")
        came = asyncio.run(
            Stage(self.loaded, issuers).play(case, lambda _name: self.pki.client.presented, STARTED)
        )
        return Said(
            came.bounds is not None, came.status, came.reason or came.would_deny, came.rule, came.challenge
        )


@pytest.fixture(params=["enforcing", "reporting"])
def four(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    pki: Pki,
    signing_key: SigningKey,
) -> Four:
    made = Configuration.create(tmp_path, pki)
    issuer = ISSUER.replace("{discovery: true}", "{jwks_file: jwks.json}")
    (tmp_path / "policies" / "jwks.json").write_text(json.dumps(jwks(signing_key)))
    (tmp_path / "client.crt").write_bytes(pki.client.pem)
    made.write_service(ENFORCING if request.param == "enforcing" else REPORTING)
    reports = "" if request.param == "enforcing" else "    report_only: {until: 2027-01-31}\n"
    made.write_policy(issuer + reports + RULES)
    tokens = {kind: minted(kind, signing_key, pki) for kind in TOKENS}
    loaded = made.load()
    return Four(tmp_path, loaded, Keys.of(signing_key), pki, tokens, local_keys(loaded.issuers, None))


def test_four_ways_say_the_same_of_every_request(four: Four) -> None:
    said = [(asked, four.live(asked)) for asked in corpus()]
    differing = [
        (name, asked, live, other)
        for asked, live in said
        for name, ask in (("explain", four.explained), ("admin", four.questioned), ("cases", four.played))
        if (other := ask(asked)) != live
    ]
    assert not differing, "\n".join(map(str, differing[:12]))
    assert len(said) > 200
    # The corpus is worth something: it sees many verdicts.
    assert len({live.reason for _, live in said}) > 15


@pytest.mark.parametrize(
    "asked",
    [
        Asked(target="/accounts/7 HTTP/1.1\r\nAuthorization: Bearer x"),
        Asked(headers={"X-A": ["a\r\nAuthorization: Bearer x"]}),
        Asked(headers={"X-A": ["a\nb"]}),
        Asked("GET /healthz HTTP/1.1\r\nX:"),
    ],
)
def test_line_end_inside_of_a_piece_makes_no_second_one(four: Four, asked: Asked) -> None:
    for ask in (four.explained, four.questioned, four.played):
        said = ask(asked)
        assert (said.passes, said.status, said.reason) == (False, 400, "request_malformed")
