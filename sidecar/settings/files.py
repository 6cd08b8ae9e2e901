"""Names of files in settings: relative to the file that names them, readable, and what they are said to be."""

import json
import stat
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from pydantic import AfterValidator, BeforeValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from sidecar.decision.certificate import Certificate
from sidecar.proxy.certificates import UnusableCertificate, certifies
from sidecar.proxy.certificates import certificates as certificates_in
from sidecar.proxy.tls.authorities import Authorities, read_authorities
from sidecar.proxy.tls.revocation import RevocationList, revocation_lists
from sidecar.settings.problem import is_like_a_secret, shown
from sidecar.settings.section import FILE_ABSENT, Surroundings, mistake

_PUBLIC = PublicFormat.SubjectPublicKeyInfo
_LARGEST = 16 * 1024 * 1024


def resolve(value: Any, info: ValidationInfo) -> Path:
    """The path that `value` names, seen from the file that names it; raises `PydanticCustomError`."""
    if not isinstance(value, str) or not value or "\0" in value or is_like_a_secret(value):
        raise mistake(f"expected the name of a file, got {shown(value)}")
    return _joined(info.context.directory, value) if isinstance(info.context, Surroundings) else Path(value)


@lru_cache(maxsize=1024)
def _joined(directory: Path, value: str) -> Path:
    """Thousands of clients name the same few files."""
    return directory / value


def _present(path: Path, info: ValidationInfo) -> bool:
    """Whether there is a file to look into; raises unless its absence is to pass."""
    if not isinstance(info.context, Surroundings):
        return False
    try:
        is_file = path.is_file()
    except (OSError, ValueError) as error:
        raise mistake(f"{shown(str(path))} cannot be read: {error}") from None
    if is_file:
        return True
    if info.context.absent_files_pass:
        return False
    what = "is not a file" if path.exists() else "does not exist"
    raise PydanticCustomError(FILE_ABSENT, "{message}", {"message": f"{shown(str(path))} {what}"})


def content(path: Path) -> bytes:
    """What a file holds, at most 16 MiB; raises `PydanticCustomError`."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise mistake(f"{shown(str(path))} cannot be read: {error.strerror}") from None
    if len(data) > _LARGEST:
        raise mistake(f"{shown(str(path))} is larger than 16 MiB")
    return data


def _checked(look: Callable[[Path], object]) -> Callable[[Path, ValidationInfo], Path]:
    def check(path: Path, info: ValidationInfo) -> Path:
        if _present(path, info):
            look(path)
        return path

    return check


def certificates(path: Path) -> list[Certificate]:
    """Every certificate of a PEM file, at least one, as OpenSSL reads it; raises `PydanticCustomError`."""
    data = content(path)
    try:
        return certificates_in(data, pem_only=True)
    except UnusableCertificate as problem:
        raise mistake(f"{shown(str(path))}: {problem}") from None


def authorities(path: Path) -> Authorities:
    """The authorities of a PEM file, at least one; raises `PydanticCustomError`."""
    try:
        return read_authorities(content(path))
    except ValueError:
        raise mistake(f"{shown(str(path))} holds no PEM certificate, or only broken ones") from None


def private_key(path: Path) -> PrivateKeyTypes:
    """The private key of a PEM file; raises `PydanticCustomError`."""
    try:
        return load_pem_private_key(content(path), None)
    except TypeError:
        raise mistake(f"{shown(str(path))} is encrypted; the private key must not be encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise mistake(f"{shown(str(path))} holds no PEM private key, or a broken one") from None


def crls(path: Path) -> tuple[RevocationList, ...]:
    """Every revocation list of a PEM or DER file, at least one; raises `PydanticCustomError`."""
    try:
        return revocation_lists(content(path))
    except ValueError:
        raise mistake(f"{shown(str(path))} holds no certificate revocation list, or a broken one") from None


def _key_set(path: Path) -> object:
    """Whether each key is fit for use is the issuer's to say; here it is only: a JWK set (RFC 7517 §5)."""
    try:
        document = json.loads(content(path))
    except (ValueError, RecursionError):
        raise mistake(f"{shown(str(path))} is not JSON") from None
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise mistake(f"{shown(str(path))} is not a JWK set: no list `keys`")
    return document


def is_there(path: Path) -> bool:
    """Whether there is a file that may be looked at."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def check_pair(certificate_file: Path, private_key_file: Path) -> None:
    """Raises unless the first certificate certifies the key; silent when a file is absent."""
    if not (is_there(certificate_file) and is_there(private_key_file)):
        return
    own = private_key(private_key_file).public_key()
    if not certifies(certificates(certificate_file)[0], own.public_bytes(Encoding.DER, _PUBLIC)):
        message = f"{shown(str(private_key_file))} is not the key of {shown(str(certificate_file))}"
        raise mistake(message, "private_key_file")


def check_private(path: Path, switch: str, at: str = "private_key_file") -> None:
    """Raises when everyone on the machine may read the file; `switch` is the setting that allows it."""
    try:
        is_readable_by_all = bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return  # what is not there is said elsewhere
    if is_readable_by_all:
        message = f"{shown(str(path))} is readable by everyone: chmod o-r (or set {switch}: true)"
        raise mistake(message, at)


_NAME = WithJsonSchema({"type": "string", "minLength": 1})
FileName = Annotated[Path, BeforeValidator(resolve, json_schema_input_type=str), _NAME]
"""A file that need not be there yet."""
ReadableFile = Annotated[FileName, AfterValidator(_checked(content)), _NAME]
CertificateFile = Annotated[FileName, AfterValidator(_checked(certificates)), _NAME]
AuthoritiesFile = Annotated[FileName, AfterValidator(_checked(authorities)), _NAME]
PrivateKeyFile = Annotated[FileName, AfterValidator(_checked(private_key)), _NAME]
RevocationFile = Annotated[FileName, AfterValidator(_checked(crls)), _NAME]
KeySetFile = Annotated[FileName, AfterValidator(_checked(_key_set)), _NAME]
