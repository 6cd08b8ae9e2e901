"""The section `admin` alone: what opens the page must work while the rest of a configuration is broken."""

from pathlib import Path

from sidecar.settings import document as documents
from sidecar.settings.configuration import AdminAddress
from sidecar.settings.operation_sections import Admin
from sidecar.settings.problem import SettingsError
from sidecar.settings.section import Surroundings, validate


def admin_address(path: Path) -> AdminAddress | None:
    """What the service file at `path` says of the admin server; None when it has none. Raises `SettingsError`."""
    document = documents.read(path)
    data = document.data.get("admin") if isinstance(document.data, dict) else None
    if data is None:
        if document.problems:
            raise SettingsError(document.problems)
        return None
    section, problems = validate(
        Admin, document, ("admin",), data, Surroundings(path.parent, absent_files_pass=True)
    )
    if section is None:
        raise SettingsError(problems)
    return address_of(section)


def address_of(section: Admin) -> AdminAddress:
    """Where the server listens, and where its token is kept."""
    host, port = section.address
    if isinstance(port, str):
        return AdminAddress("", 0, port)
    return AdminAddress(host, port, token_file=section.token_file)
