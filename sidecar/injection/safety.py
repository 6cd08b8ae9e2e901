"""Finds settings that would make the protection ineffective: they are refused, or reported in one sentence each.
Pure.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sidecar.injection.parts import containers

_ANY_ADDRESS: Final = re.compile(r"(?:^|[=\s,/@'\"])(0\.0\.0\.0|\[::\]|::|\*)(?=$|[:\s,/'\"])")
_ADDRESS_FLAG: Final = re.compile(
    r"--?(?:b|bind|host|listen|address|addr|ip|bind-address|listen-address|server\.address)(?:[=\s]|$)",
    re.ASCII,
)
_ADDRESS_VARIABLE: Final = re.compile(
    r"(?:.*_)?(?:HOST|BIND|ADDRESS|ADDR|LISTEN|HOSTNAME|URLS)", re.ASCII | re.IGNORECASE
)


def isolation_problems(spec: Mapping[str, Any]) -> Iterator[str]:
    """A container in the sidecar's process namespace can read its keys and stop it."""
    if spec.get("shareProcessNamespace"):
        yield "shareProcessNamespace lets the other containers read the sidecar's memory, keys and tokens included"
    if spec.get("hostPID"):
        yield "hostPID shares the node's processes: the sidecar's keys could be read from outside the Pod"


def open_address_notes(spec: Mapping[str, Any], container: str) -> Iterator[str]:
    """An API that listens on all addresses can be reached without the sidecar."""
    for one in containers(spec):
        if one["name"] != container:
            continue
        for where in _open_addresses(one):
            yield (
                f"container {one['name']} is told to listen on all addresses ({where}): whoever reaches the Pod"
                " bypasses the sidecar; let it listen on 127.0.0.1"
            )


def mesh_notes(metadata: Mapping[str, Any], number: int) -> Iterator[str]:
    """If a service mesh terminates TLS, the sidecar gets no certificate to compare."""
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    istio = annotations.get("sidecar.istio.io/inject", labels.get("sidecar.istio.io/inject"))
    excluded = str(annotations.get("traffic.sidecar.istio.io/excludeInboundPorts", ""))
    if (istio == "true" or "istio.io/rev" in labels) and not _names(excluded, number):
        yield (
            "Istio's own sidecar would accept the connections first: annotate"
            f' traffic.sidecar.istio.io/excludeInboundPorts: "{number}"'
        )
    skipped = str(annotations.get("config.linkerd.io/skip-inbound-ports", ""))
    linkerd = annotations.get("linkerd.io/inject") in {"enabled", "ingress"}
    if linkerd and not _names(skipped, number):
        yield (
            "Linkerd's own proxy would accept the connections first: annotate"
            f' config.linkerd.io/skip-inbound-ports: "{number}"'
        )


def registry_notes(image: str) -> Iterator[str]:
    """An image without a registry comes from Docker Hub, which may not be intended."""
    first, slash, _ = image.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        full = image if slash else f"library/{image}"
        yield f"image {image} has no registry: a node uses docker.io/{full}"


def _open_addresses(container: Mapping[str, Any]) -> Iterator[str]:
    words = [str(word) for field in ("command", "args") for word in container.get(field) or []]
    for word, following in itertools.pairwise([*words, ""]):
        if _ADDRESS_FLAG.match(word) and "=" not in word and " " not in word:
            if _ANY_ADDRESS.match(following):
                yield f"{word} {following}"[:80]
        elif _ANY_ADDRESS.search(word) and (_ADDRESS_FLAG.search(word) or "0.0.0.0" in word):  # noqa: S104  # read, not bound
            yield _shown(word)
    for variable in container.get("env") or []:
        name, value = str(variable.get("name", "")), variable.get("value")
        if _ADDRESS_VARIABLE.fullmatch(name) and isinstance(value, str) and _ANY_ADDRESS.search(value):
            yield f"{name}={value}"[:80]


def _shown(word: str) -> str:
    found = re.search(r"\S*(?:0\.0\.0\.0|\[::\]|::|\*)\S*", word)
    return (found[0] if found else word)[:80]


def _names(ports: str, number: int) -> bool:
    for part in ports.split(","):
        low, dash, high = part.strip().partition("-")
        if low.isdigit() and (high.isdigit() if dash else True) and int(low) <= number <= int(high or low):
            return True
    return ports.strip() == "*"
