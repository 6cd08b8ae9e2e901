"""Files of clients → their settings, with all that is wrong in them. What many clients name is looked into once."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic_core import PydanticCustomError

from sidecar.decision.certificate import Certificate
from sidecar.decision.registered_client.method import ClientMethod
from sidecar.decision.registered_client.name import names_of
from sidecar.issuer.client_authentication import parse_secret, parse_signing_key
from sidecar.issuer.configuration import ClientSecretBasic, ClientSecretPost, PrivateKeyJwt
from sidecar.proxy.authorization_server.configuration import AuthoritySettings, ClientSettings, Translation
from sidecar.settings import document as documents
from sidecar.settings.client_file import NONE_REGISTERED, PlacedClient, ReadFile, Registered, digest_of
from sidecar.settings.client_sections import ClientSection, ClientsFile, TranslateSection, frame
from sidecar.settings.document import Document
from sidecar.settings.files import authorities, check_private, content, crls
from sidecar.settings.problem import Problem, SettingsError, shown
from sidecar.settings.registered_certificates import key_set_certificates, own_certificates
from sidecar.settings.section import Surroundings, validate

_Path = tuple[str | int, ...]
_SWITCH = "insecure_secret_readable_by_everyone"


class ClientFiles:
    """Everything that files of clients say, gathered file by file. A file that is as it was is not read again."""

    def __init__(self, *, absent_files_pass: bool, known: Mapping[Path, ReadFile] | None = None) -> None:
        """`known` is what an earlier reading found of each file (`remembered`)."""
        self.problems: list[Problem] = []
        self.files: list[ReadFile] = []
        self._known = known or {}
        self._absent_files_pass = absent_files_pass
        self._places: dict[str, str] = {}
        self._looked: dict[tuple[str, Path], Any] = {}
        self._shared: dict[AuthoritySettings, AuthoritySettings] = {}

    @property
    def clients(self) -> list[PlacedClient]:
        """Every valid one."""
        return [one for file in self.files for one in file.clients]

    @property
    def read(self) -> tuple[Path, ...]:
        """All files, those of clients first; not those of the environment."""
        own = [one.path for one in self.files if documents.environment_variable(one.path) is None]
        return tuple(dict.fromkeys([*own, *(path for one in self.files for path, _ in one.beside)]))

    @property
    def dangers(self) -> list[Problem]:
        """Settings that switch a protection off."""
        return [one for file in self.files for one in file.dangers]

    @property
    def remembered(self) -> dict[Path, ReadFile]:
        """What the next reading need not read again, if nothing is wrong with any file."""
        return {one.path: one for one in self.files}

    def add_file(self, path: Path) -> None:
        """Read one file, or know it."""
        known = self._known.get(path)
        if known is not None and known.is_as_it_was():
            self.files.append(known)
            self.problems.extend(known.warnings)
        else:
            self._read(path)
        file = self.files[-1]
        for client_id, place, at in file.names:
            first = self._places.setdefault(client_id, place)
            if first != place:
                message = f"{shown(client_id)} is already registered: {first}"
                self.problems.append(Problem(file.file, *at, message))

    def _read(self, path: Path) -> None:
        digest = digest_of(path)
        try:
            document = documents.read(path)
        except SettingsError as error:
            self.problems.extend(error.problems)
            self.files.append(ReadFile(path, digest))
            return
        before = len(self.problems)
        around = Surroundings(path.parent, self._absent_files_pass)
        _, problems = validate(ClientsFile, document, (), frame(document.data), around)
        self.problems.extend((*document.problems, *problems))
        file = ReadFile(path, digest, is_writable_by_everyone=document.is_writable_by_everyone)
        self.files.append(file)
        listed = document.data.get("clients") if isinstance(document.data, dict) else None
        for index, data in enumerate(listed if isinstance(listed, list) else []):
            self._add(file, document, ("clients", index), data, around)
        file.warnings = self.problems[before:]

    def _add(self, file: ReadFile, document: Document, path: _Path, data: Any, around: Surroundings) -> None:
        line, _ = document.position(path)
        place = f"{document.file}:{line}"
        client_id = data.get("client_id") if isinstance(data, dict) else None
        if isinstance(client_id, str):
            file.names.append((client_id, place, document.position((*path, "client_id"))))
        section, problems = validate(ClientSection, document, path, data, around)
        self.problems.extend(problems)
        if section is None:
            return
        settings, registered = self._settings(file, document, path, section, place)
        file.clients.append(PlacedClient(settings, _registered_of(section, registered), document, path, data))
        if section.translate is not None and section.translate.insecure_secret_readable_by_everyone:
            file.dangers.append(document.warning((*path, "translate", _SWITCH), f"`{_SWITCH}` is on"))

    def _settings(
        self, file: ReadFile, document: Document, path: _Path, section: ClientSection, place: str
    ) -> tuple[ClientSettings, tuple[Certificate, ...]]:
        def looked(key: str, named: Path | None, look: Callable[[Path], Any]) -> Any:
            at = (*path, *key.split("."))
            return None if named is None else self._look(file, document, at, named, look)

        looked("ca_file", section.ca_file, authorities)
        looked("crl_file", section.crl_file, crls)
        registered = self._registered(file, document, path, section)
        if section.translate is not None:
            translate = section.translate
            key = "key_file" if translate.method == "private_key_jwt" else "client_secret_file"
            looked(f"translate.{key}", translate.secret, lambda secret: _credential(translate, secret))
        authority = None
        if section.ca_file is not None:
            authority = AuthoritySettings(section.ca_file, section.crl_file, bool(section.partial_chain))
            authority = self._shared.setdefault(authority, authority)
        settings = ClientSettings(
            client_id=section.client_id,
            method=ClientMethod(section.method),
            place=place,
            name=section.registered_name,
            authority=authority,
            thumbprints=frozenset(one.thumbprint for one in registered),
            jwks_url=section.jwks_url,
            hands_certificate=bool(section.certificate),
            translation=_translation(section.client_id, section.translate),
        )
        return settings, registered

    def _registered(
        self, file: ReadFile, document: Document, path: _Path, section: ClientSection
    ) -> tuple[Certificate, ...]:
        found: list[Certificate] = []
        for index, named in enumerate(section.certificate_files or ()):
            found += (
                self._look(file, document, (*path, "certificate_files", index), named, own_certificates) or ()
            )
        if section.jwks_file is not None:
            at = (*path, "jwks_file")
            published = self._look(file, document, at, section.jwks_file, key_set_certificates)
            if published is not None:
                found += published.certificates
                for one in published.skipped:
                    self.problems.append(
                        document.warning(at, f"{shown(str(section.jwks_file))}: {one}: not used")
                    )
        return tuple(found)

    def _look(
        self, reading: ReadFile, document: Document, path: _Path, file: Path, look: Callable[[Path], Any]
    ) -> Any:
        """What is in a file; None when there is none, or when it is not what it should be: then that is a problem."""
        reading.looks_at(file)
        known = (str(path[-1] if isinstance(path[-1], str) else path[-2]), file)
        if known in self._looked:
            return self._looked[known]
        found = None
        try:
            if file.is_file():
                found = look(file)
            else:
                self._absent(document, path, file)
        except PydanticCustomError as problem:
            self.problems.append(document.problem(path, problem.message()))
        except (OSError, ValueError) as error:
            self.problems.append(document.problem(path, f"{shown(str(file))}: {error}"))
        self._looked[known] = found
        return found

    def _absent(self, document: Document, path: _Path, file: Path) -> None:
        message = f"{shown(str(file))} {'is not a file' if file.exists() else 'does not exist'}"
        make = document.warning if self._absent_files_pass and not file.exists() else document.problem
        self.problems.append(make(path, message))


def _registered_of(section: ClientSection, found: tuple[Certificate, ...]) -> Registered:
    if not found:
        return NONE_REGISTERED
    return Registered(
        tuple(section.certificate_files or ()),
        section.jwks_file,
        frozenset().union(*map(names_of, found)),
        tuple((one.not_before, one.not_after) for one in found),
    )


def _credential(section: TranslateSection, file: Path) -> Literal[True]:
    """Raises `PydanticCustomError` and `ValueError`."""
    if not section.insecure_secret_readable_by_everyone:
        check_private(file, _SWITCH)
    if section.method == "private_key_jwt":
        parse_signing_key(content(file), section.algorithm)
    else:
        parse_secret(content(file))
    return True


def _translation(client_id: str, section: TranslateSection | None) -> Translation | None:
    if section is None:
        return None
    if section.method == "private_key_jwt":
        return PrivateKeyJwt(client_id, section.secret, section.algorithm, section.key_id, section.audience)
    kind = ClientSecretBasic if section.method == "client_secret_basic" else ClientSecretPost
    return kind(client_id, section.secret)
