"""The whole configuration: the service file, the policy files it names, and every file these name."""

import glob
import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sidecar.decision.policy import Policy
from sidecar.issuer.configuration import IssuersSettings
from sidecar.proxy.configuration import ProxySettings, Trust
from sidecar.settings import document as documents
from sidecar.settings.authorization_server import authorization_server_settings, impediments
from sidecar.settings.authorization_server import doubts as server_doubts
from sidecar.settings.client_file import ReadFile
from sidecar.settings.client_files import ClientFiles
from sidecar.settings.configuration import Loaded, ServiceSettings
from sidecar.settings.document import Document
from sidecar.settings.files import is_there
from sidecar.settings.grpc_section import unspoken
from sidecar.settings.limit_review import review_limits
from sidecar.settings.operation_sections import ServiceFile
from sidecar.settings.policies import Policies
from sidecar.settings.problem import Problem, SettingsError, shown
from sidecar.settings.section import Section, Surroundings, validate
from sidecar.settings.service import proxy_settings, service_settings
from sidecar.settings.tls_requirement import unattainable
from sidecar.settings.told_review import trusted_networks
from sidecar.settings.trust_review import doubtful_authorities, expiry, unlisted_authorities
from sidecar.settings.tryout import tried

FILES: Final = 1000
"""The largest number of policy files."""

_NOT_READ: Final = frozenset({"file", "state_directory", "token_file"})
"""Paths that the process writes to."""


def load(
    path: Path,
    *,
    absent_files_pass: bool = False,
    now: float | None = None,
    known: Mapping[Path, ReadFile] | None = None,
) -> Loaded:
    """The configuration that the service file at `path` begins.

    Reads files, opens no port. Raises `SettingsError` with everything that is wrong in all of the files. With
    `absent_files_pass`, a key, certificate, secret or JWK set that is not there is a warning and not a problem.
    With `now` (seconds since the epoch) there are warnings about report-only and certificates that have ended, or soon
    will. With `known`, which may be empty, files of clients that are as they were are not read again, and what is known
    of all of them is in `Loaded.client_cache`.
    """
    return _Loading(path, absent_files_pass=absent_files_pass, known=known).loaded(now)


class _Loading:
    def __init__(self, path: Path, *, absent_files_pass: bool, known: Mapping[Path, ReadFile] | None) -> None:
        self.document = documents.read(path)
        self.directory = path.parent
        self.absent_files_pass = absent_files_pass
        self.problems: list[Problem] = list(self.document.problems)
        self.policies = Policies()
        self.known = known

    def loaded(self, now: float | None = None) -> Loaded:
        around = Surroundings(self.directory, self.absent_files_pass)
        service, problems = validate(ServiceFile, self.document, (), self.document.data, around)
        self.problems.extend(problems)
        for path in (paths := self._policy_paths()):
            self.policies.add_file(path, absent_files_pass=self.absent_files_pass)
        clients = self._read_clients()
        self.policies.check_references(self._listeners())
        self._check_together(service, clients)
        errors, warnings = self._sorted_out()
        if errors or service is None:
            raise SettingsError(errors)
        sections = [(self.document, (), service), *self.policies.sections]
        services = service_settings(service)
        resource = services.protected_resource
        policy = self.policies.policy(resource.origins if resource is not None else ())
        server = authorization_server_settings(service.authorization_server, clients.clients)
        proxy = proxy_settings(service, policy, server)
        found = [
            *warnings,
            *self._certificate_name_taken(proxy),
            *tried(self.document, proxy, self.policies.placed_issuers),
        ]
        if errors := [one for one in found if not one.is_warning]:
            raise SettingsError(errors)
        doubts = self._doubts(service, services, policy, proxy, now)
        doubts.update(server_doubts(self.document, service, clients.clients, now))
        return Loaded(
            proxy=proxy,
            service=services,
            issuers=IssuersSettings(tuple(self.policies.issuer_settings), services.state_directory),
            policy=policy,
            files=(*_files(Path(self.document.file), paths, sections), *clients.read),
            policy_patterns=self._policy_patterns(service),
            authorization_server=server,
            client_cache=b"" if self.known is None else pickle.dumps(clients.remembered),
            warnings=tuple(sorted({*found, *doubts})),
            dangers=tuple(sorted([*_dangers(sections), *clients.dangers])),
        )

    def _check_together(self, service: ServiceFile | None, clients: ClientFiles) -> None:
        """Checks that need more than one file."""
        self._check_proofs(service)
        if service is None or not service.process.insecure_policy_writable_by_everyone:
            self.problems.extend(_writable([self.document, *self.policies.documents, *clients.files]))
        self.problems.extend(impediments(self.document, service, clients.clients))

    def _certificate_name_taken(self, proxy: ProxySettings) -> Iterator[Problem]:
        """A claim under the name of the certificate's field would be taken for a certificate."""
        header = proxy.upstream.client_certificate_header
        taken = {name.lower(): name for name in proxy.rule_identity_headers}
        for name in header.names if header is not None else ():
            if name.lower() in taken:
                message = f"{shown(name)} is among the `identity_headers` of a rule"
                yield self.document.problem(("upstream", "client_certificate_header"), message)
        claims = {name.lower() for name in (*proxy.rule_identity_headers, *proxy.upstream.identity_headers)}
        for name in sorted(proxy.hand_over_headers):
            if name.lower() in claims:
                message = (
                    f"{shown(name)} is among `identity_headers`: a claim would be taken for a certificate"
                )
                yield self.document.problem(("authorization_server", "hand_over"), message)

    def _doubts(
        self,
        service: ServiceFile,
        services: ServiceSettings,
        policy: Policy,
        proxy: ProxySettings,
        now: float | None,
    ) -> set[Problem]:
        """What is allowed, but probably not intended."""
        trusting = frozenset(one.name for one in proxy.listeners if one.clients.trust is Trust.ANY)
        sections = [(self.document, (), service), *self.policies.sections]
        return {
            *self.policies.doubts(trusting, now),
            *review_limits(self.policies.rules, proxy.upstream, services.workers),
            *self._doubts_of_replays(policy, services),
            *_expiring(sections, now),
            *unlisted_authorities(self.document, service),
            *doubtful_authorities(self.document, service),
            *unattainable(self.policies.rules, proxy.listeners),
            *unspoken(self.policies.rules, proxy),
            *trusted_networks(self.document, service),
            *self._no_rules(),
        }

    def _policy_patterns(self, service: ServiceFile) -> tuple[str, ...]:
        folder = Path(glob.escape(str(self.directory.absolute())))
        return tuple(
            str(folder / one)
            for one in (*service.policy_files, *_client_patterns(service))
            if documents.environment_variable(one) is None
        )

    def _no_rules(self) -> Iterator[Problem]:
        if not self.policies.rules:
            yield self.document.warning(("policy_files",), "there is no rule: every request will be refused")

    def _check_proofs(self, service: ServiceFile | None) -> None:
        """What DPoP needs of the service file, when that can be read."""
        if service is None:
            return
        resource = service.protected_resource
        self.policies.check_proofs(
            has_origins=resource is not None and bool(resource.origins),
            has_nonce_key=service.dpop.nonce_key_file is not None,
        )

    def _doubts_of_replays(self, policy: Policy, services: ServiceSettings) -> Iterator[Problem]:
        if "dpop" in policy.schemes and services.dpop.replay_url_file is None:
            message = (
                "used DPoP proofs are stored in memory: with several replicas, a proof passes once in each"
            )
            yield self.document.warning(("dpop",), message)

    def _sorted_out(self) -> tuple[list[Problem], list[Problem]]:
        """What stands in the way, and what does not."""
        found = [*self.problems, *self.policies.problems]
        return [one for one in found if not one.is_warning], [one for one in found if one.is_warning]

    def _read_clients(self) -> ClientFiles:
        """The files that `client_files` names; even if the rest is wrong."""
        files = ClientFiles(absent_files_pass=self.absent_files_pass, known=self.known)
        data = (
            self.document.data.get("authorization_server") if isinstance(self.document.data, dict) else None
        )
        patterns = data.get("client_files") if isinstance(data, dict) else None
        for path in self._matched(patterns, ("authorization_server", "client_files"), "clients"):
            files.add_file(path)
        self.problems.extend(files.problems)
        return files

    def _policy_paths(self) -> list[Path]:
        """The files that `policy_files` names, those of the environment first, then in the order of their names; even
        if the rest is wrong.
        """
        data = self.document.data
        patterns = data.get("policy_files") if isinstance(data, dict) else None
        return self._matched(patterns, ("policy_files",), "policy")

    def _matched(self, patterns: object, at: tuple[str, ...], what: str) -> list[Path]:
        found: dict[Path, None] = {}
        for index, pattern in enumerate(patterns if isinstance(patterns, list) else []):
            if not isinstance(pattern, str) or not pattern:
                continue
            matching = _matching(self.directory, pattern)
            if not matching:
                message = f"no {what} file matches {shown(pattern)}"
                self.problems.append(self.document.problem((*at, index), message))
            found.update(dict.fromkeys(matching))
        if len(found) > FILES:
            self.problems.append(self.document.problem(at, f"more than {FILES} {what} files"))
        return sorted(found, key=lambda path: (documents.environment_variable(path) is None, str(path)))[
            :FILES
        ]

    def _listeners(self) -> list[str]:
        """Names of listeners, even of those that are wrong otherwise."""
        data = self.document.data
        listeners = data.get("listeners") if isinstance(data, dict) else None
        named = [one for one in listeners if isinstance(one, dict)] if isinstance(listeners, list) else []
        return [str(one.get("name", one.get("address"))) for one in named]


def _client_patterns(service: ServiceFile) -> Sequence[str]:
    return service.authorization_server.client_files if service.authorization_server is not None else ()


def _matching(directory: Path, pattern: str) -> list[Path]:
    if documents.environment_variable(pattern) is not None:
        return [Path(pattern)]
    try:
        names = glob.glob(pattern, root_dir=directory, recursive=True)  # noqa: PTH207 — patterns may be absolute
    except (OSError, ValueError, RecursionError):
        return []
    return [path for path in (directory / name for name in names) if is_there(path)]


def _writable(documents: Sequence[Document | ReadFile]) -> Iterator[Problem]:
    """Whoever may write them decides what passes."""
    for one in documents:
        if one.is_writable_by_everyone:
            message = "is writable by everyone: chmod o-w (or set process.insecure_policy_writable_by_everyone: true)"
            yield Problem(one.file, 0, 0, message)


_Placed = tuple[Document, tuple[str | int, ...], Section]


def _values(path: tuple[str | int, ...], section: Section) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every value that is set in a section and in the sections inside it."""
    for name, value in section.given().items():
        inner = (*path, name)
        if isinstance(value, Section):
            yield from _values(inner, value)
        elif isinstance(value, list):
            yield inner, value
            for index, member in enumerate(value):
                if isinstance(member, Section):
                    yield from _values((*inner, index), member)
        else:
            yield inner, value


def _files(service: Path, policies: list[Path], sections: list[_Placed]) -> tuple[Path, ...]:
    named = [
        value
        for _, path, section in sections
        for inner, value in _values(path, section)
        if isinstance(value, Path) and inner[-1] not in _NOT_READ
    ]
    read = [one for one in (service, *policies) if documents.environment_variable(one) is None]
    return tuple(dict.fromkeys([*read, *named]))


def _expiring(sections: list[_Placed], now: float | None) -> Iterator[Problem]:
    """Certificates and revocation lists that have expired, or soon will; nothing without a clock."""
    for document, path, section in sections if now is not None else ():
        for inner, value in _values(path, section):
            if now is not None and isinstance(value, Path) and is_there(value):
                message = expiry(str(inner[-1]), value, now)
                if message is not None:
                    yield document.warning(inner, message)


def _dangers(sections: list[_Placed]) -> Iterator[Problem]:
    for document, path, section in sections:
        for inner, value in _values(path, section):
            if inner[-1] == "method" and value == "insecure_none":
                yield document.warning(
                    inner, "`insecure_none` is on: the endpoint answers everyone who asks about tokens"
                )
            if str(inner[-1]).startswith("insecure_") and value is True:
                yield document.warning(inner, f"`{inner[-1]}` is on")
            elif str(inner[-1]).startswith("insecure_") and isinstance(value, list) and value:
                yield document.warning(inner, f"`{inner[-1]}` is on: {', '.join(map(shown, value))}")
