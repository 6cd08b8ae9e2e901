"""Files of clients → their settings, with all that is wrong in them. What many clients name is looked into once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic_core import PydanticCustomError

from sidecar.decision.certificate import Certificate
from sidecar.decision.registered_client.fitness import unfitness
from sidecar.decision.registered_client.method import ClientMethod
from sidecar.issuer.client_authentication import parse_secret, parse_signing_key
from sidecar.issuer.configuration import ClientSecretBasic, ClientSecretPost, PrivateKeyJwt
from sidecar.proxy.authorization_server.configuration import AuthoritySettings, ClientSettings, Translation
from sidecar.proxy.authorization_server.published import published_certificates
from sidecar.settings import document as documents
from sidecar.settings.client_sections import ClientSection, ClientsFile, TranslateSection, frame
from sidecar.settings.document import Document
from sidecar.settings.files import authorities, certificates, check_private, content, crls
from sidecar.settings.problem import Problem, SettingsError, shown
from sidecar.settings.section import Section, Surroundings, mistake, validate

_Path = tuple[str | int, ...]
_SWITCH = "insecure_secret_readable_by_everyone"


class PlacedClient:
    """One valid client, and where it stands."""

    __slots__ = ("certificates", "document", "path", "section", "settings")

    def __init__(
        self,
        settings: ClientSettings,
        section: ClientSection,
        certificates: tuple[Certificate, ...],
        document: Document,
        path: _Path,
    ) -> None:
        self.settings = settings
        self.section = section
        self.certificates = certificates
        """Those that are registered of it."""
        self.document = document
        self.path = path


class ClientFiles:
    """Everything that files of clients say, gathered file by file."""

    def __init__(self, *, absent_files_pass: bool) -> None:
        self.problems: list[Problem] = []
        self.documents: list[Document] = []
        self.clients: list[PlacedClient] = []
        self.files: dict[Path, None] = {}
        """Every file that was read beside them."""
        self._absent_files_pass = absent_files_pass
        self._places: dict[str, str] = {}
        self._looked: dict[tuple[str, Path], Any] = {}

    @property
    def read(self) -> tuple[Path, ...]:
        """All files, those of clients first; not those of the environment."""
        own = [Path(one.file) for one in self.documents if documents.environment_variable(one.file) is None]
        return (*own, *self.files)

    @property
    def sections(self) -> "list[tuple[Document, _Path, Section]]":
        """Every valid section, where it stands."""
        return [(one.document, one.path, one.section) for one in self.clients]

    def add_file(self, path: Path) -> None:
        """Read one file."""
        try:
            document = documents.read(path)
        except SettingsError as error:
            self.problems.extend(error.problems)
            return
        self.documents.append(document)
        around = Surroundings(path.parent, self._absent_files_pass)
        _, problems = validate(ClientsFile, document, (), frame(document.data), around)
        self.problems.extend((*document.problems, *problems))
        listed = document.data.get("clients") if isinstance(document.data, dict) else None
        for index, data in enumerate(listed if isinstance(listed, list) else []):
            self._add(document, ("clients", index), data, around)

    def _add(self, document: Document, path: _Path, data: Any, around: Surroundings) -> None:
        line, _ = document.position(path)
        place = f"{document.file}:{line}"
        client_id = data.get("client_id") if isinstance(data, dict) else None
        if isinstance(client_id, str):
            first = self._places.setdefault(client_id, place)
            if first != place:
                message = f"{shown(client_id)} is registered already: {first}"
                self.problems.append(document.problem((*path, "client_id"), message))
        section, problems = validate(ClientSection, document, path, data, around)
        self.problems.extend(problems)
        if section is not None:
            settings, registered = self._settings(document, path, section, place)
            self.clients.append(PlacedClient(settings, section, registered, document, path))

    def _settings(
        self, document: Document, path: _Path, section: ClientSection, place: str
    ) -> tuple[ClientSettings, tuple[Certificate, ...]]:
        def looked(key: str, file: Path | None, look: Callable[[Path], Any]) -> Any:
            return None if file is None else self._look(document, (*path, *key.split(".")), file, look)

        looked("ca_file", section.ca_file, authorities)
        looked("crl_file", section.crl_file, crls)
        registered = self._registered(document, path, section)
        if section.translate is not None:
            translate = section.translate
            key = "key_file" if translate.method == "private_key_jwt" else "client_secret_file"
            looked(f"translate.{key}", translate.secret, lambda file: _credential(translate, file))
        authority = None
        if section.ca_file is not None:
            authority = AuthoritySettings(section.ca_file, section.crl_file, bool(section.partial_chain))
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

    def _registered(self, document: Document, path: _Path, section: ClientSection) -> tuple[Certificate, ...]:
        found: list[Certificate] = []
        for index, file in enumerate(section.certificate_files or ()):
            found += self._look(document, (*path, "certificate_files", index), file, _own) or ()
        if section.jwks_file is not None:
            at = (*path, "jwks_file")
            published = self._look(document, at, section.jwks_file, _published)
            if published is not None:
                found += published.certificates
                for one in published.skipped:
                    self.problems.append(
                        document.warning(at, f"{shown(str(section.jwks_file))}: {one}: not used")
                    )
        return tuple(found)

    def _look(self, document: Document, path: _Path, file: Path, look: Callable[[Path], Any]) -> Any:
        """What is in a file; None when there is none, or when it is not what it should be: then that is a problem."""
        self.files[file] = None
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


def _own(file: Path) -> list[Certificate]:
    """Certificates that are registered themselves; raises `PydanticCustomError`."""
    found = certificates(file)
    for one in found:
        unfit = unfitness(one)
        if unfit is not None:
            raise mistake(f"{shown(str(file))} holds {unfit}")
    return found


def _published(file: Path) -> Any:
    try:
        document = json.loads(content(file))
    except (ValueError, RecursionError):
        raise mistake(f"{shown(str(file))} is not JSON") from None
    found = published_certificates(document)
    if not found.certificates:
        said = f": {found.skipped[0]}" if found.skipped else ""
        raise mistake(f"{shown(str(file))} holds no certificate that can be used{said}")
    return found


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
