"""A certificate of the sidecar and its key: the one section for it, wherever it is used."""

from typing import Final, Self

from pydantic import model_validator

from sidecar.settings.files import CertificateFile, PrivateKeyFile, check_pair, check_private
from sidecar.settings.section import Section, mistake

WORLD_READABLE: Final = "insecure_private_key_readable_by_everyone"
"""The setting that accepts a private key that every user of the machine may read."""


class OwnCertificate(Section):
    """Both files or neither; the key is the certificate's, and private.

    A section that has no use for a certificate of its own without one declares the two files again, as required.
    """

    certificate_file: CertificateFile | None = None
    """The sidecar's own client certificate."""
    private_key_file: PrivateKeyFile | None = None
    """Its key: PEM, not encrypted, not readable by everyone."""
    insecure_private_key_readable_by_everyone: bool = False
    """DANGEROUS: accepts a private key that every user of the machine may read."""

    @model_validator(mode="after")
    def _own_certificate(self) -> Self:
        self._check_own_certificate()
        return self

    def _check_own_certificate(self) -> None:
        """Raises what a validator raises."""
        certificate, key = self.certificate_file, self.private_key_file
        if (certificate is None) != (key is None):
            raise mistake("`certificate_file` and `private_key_file` go together")
        if certificate is not None and key is not None:
            check_pair(certificate, key)
            if not self.insecure_private_key_readable_by_everyone:
                check_private(key, WORLD_READABLE)
