"""The operator's settings for client certificates from a proxy in front of the Pods (RFC 9440). Pure.

A Pod's author cannot change them: whoever may forward client certificates decides who gets access.
"""

import json
from ipaddress import ip_network
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]*$", max_length=64)]
_KINDS = ("network", "spiffe_id", "san_dns", "thumbprint")


def _network(value: str) -> str:
    return str(ip_network(value))


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ToldField(_Strict):
    """The proxy's field."""

    format: Literal["rfc9440", "xfcc", "pem_urlencoded", "pem_one_line", "der_base64"]
    name: HeaderName | None = None
    chain_name: HeaderName | None = None


class TellingProxy(_Strict):
    """One kind of proxy; a name is accepted only with the authorities of `proxy_ca`."""

    network: Annotated[str, AfterValidator(_network)] | None = None
    spiffe_id: Annotated[str, Field(pattern=r"^spiffe://[a-z0-9._-]+(/[!-~]*)?$", max_length=2048)] | None = (
        None
    )
    san_dns: Annotated[str, Field(pattern=r"^[A-Za-z0-9.*_-]+$", max_length=253)] | None = None
    thumbprint: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError(f"name exactly one of {', '.join(_KINDS)}")
        return self

    @property
    def is_by_name(self) -> bool:
        """Whether it needs an authority."""
        return self.spiffe_id is not None or self.san_dns is not None


class ToldCertificate(_Strict):
    """The source of the certificate: the field and its proxies."""

    header: ToldField
    proxies: Annotated[tuple[TellingProxy, ...], Field(min_length=1)]

    @property
    def needs_authority(self) -> bool:
        """Whether a proxy is identified by a name."""
        return any(one.is_by_name for one in self.proxies)

    def lines(self, authority: str) -> list[str]:
        """Lines of `client_certificate` in the service file; the file `authority` issued the certificates of named
        proxies.
        """
        proxies = [
            one.model_dump(exclude_none=True) | ({"ca_file": authority} if one.is_by_name else {})
            for one in self.proxies
        ]
        return [
            "source: header",
            f"header: {_flow(self.header.model_dump(exclude_none=True))}",
            f"proxies: {_flow(proxies)}",
        ]


def _flow(value: Any) -> str:
    """JSON is valid YAML."""
    return json.dumps(value)
