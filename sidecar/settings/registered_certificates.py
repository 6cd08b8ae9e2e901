"""Files of certificates that are registered themselves (RFC 8705 §2.2.2): PEM, or a JWK set."""

import json
from pathlib import Path

from sidecar.decision.certificate import Certificate
from sidecar.decision.registered_client.fitness import unfitness
from sidecar.proxy.authorization_server.published import PublishedCertificates, published_certificates
from sidecar.settings.files import certificates, content
from sidecar.settings.problem import shown
from sidecar.settings.section import mistake


def own_certificates(file: Path) -> list[Certificate]:
    """The certificates of a PEM file, each fit to be a client's; raises `PydanticCustomError`."""
    found = certificates(file)
    for one in found:
        unfit = unfitness(one)
        if unfit is not None:
            raise mistake(f"{shown(str(file))} holds {unfit}")
    return found


def key_set_certificates(file: Path) -> PublishedCertificates:
    """The certificates of a JWK set, at least one; raises `PydanticCustomError`, and `ValueError` for anything else."""
    try:
        document = json.loads(content(file))
    except (ValueError, RecursionError):
        raise mistake(f"{shown(str(file))} is not JSON") from None
    found = published_certificates(document)
    if not found.certificates:
        said = f": {found.skipped[0]}" if found.skipped else ""
        raise mistake(f"{shown(str(file))} holds no certificate that can be used{said}")
    return found
