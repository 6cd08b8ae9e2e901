"""Whatever an issuer serves: usable keys, named reasons, or a named phase; never another exception."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision.jwk import Unusable
from sidecar.issuer.http import FetchFailed
from sidecar.issuer.keys import NotAKeySet, load_key_set
from sidecar.issuer.metadata import parse_metadata, parse_object
from tests.support.mint import SigningKey

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
MEMBERS = ["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops", "k", "d", "x5c"]
WORDS = st.sampled_from(
    [
        "RSA",
        "EC",
        "OKP",
        "oct",
        "P-256",
        "Ed25519",
        "sig",
        "enc",
        "ES256",
        "EdDSA",
        "verify",
        "AQAB",
        "AA",
        "",
    ]
)
JWKS = st.dictionaries(st.sampled_from(MEMBERS), WORDS | JSON, max_size=8)
KEY = SigningKey.create("ES256").jwk


@given(st.lists(JWKS | JSON, max_size=6))
def test_any_key_set_is_loaded_or_its_entries_are_named(entries: list[Any]) -> None:
    keys = load_key_set({"keys": entries}, 4)
    assert len(keys) + len(keys.skipped) <= len(entries) + 1
    for entry in keys.skipped:
        assert isinstance(entry.reason, Unusable)
        assert entry.name.isprintable()
        assert entry.name.isascii()
        assert len(entry.name) <= 64


@given(st.sampled_from(sorted(KEY)), WORDS | JSON)
def test_any_value_of_any_member_takes_a_key_out_or_leaves_it_sound(name: str, value: object) -> None:
    keys = load_key_set({"keys": [KEY | {name: value}]}, 4)
    assert len(keys) + len(keys.skipped) == 1
    if len(keys):
        assert load_key_set(keys.document(), 4, keys).identities() == keys.identities()


@given(JSON)
def test_any_document_is_a_key_set_or_is_refused(document: object) -> None:
    try:
        keys = load_key_set(document, 4)
    except NotAKeySet:
        assert not (isinstance(document, dict) and isinstance(document.get("keys"), list))
    else:
        assert len(keys) <= 4


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_an_object_or_is_named_parse(body: bytes) -> None:
    assert phase_of(parse_object, body) in {None, "parse"}


@given(
    st.dictionaries(
        st.sampled_from(["jwks_uri", "introspection_endpoint", "mtls_endpoint_aliases"]),
        st.sampled_from(["https://as.example.com", "https://[", "//x", "https://é", {}]) | JSON,
    )
)
def test_any_member_of_metadata_is_a_url_or_is_named_parse(document: dict[str, Any]) -> None:
    issuer = "https://as.example.com"
    assert phase_of(parse_metadata, {**document, "issuer": issuer}, issuer) in {None, "parse"}
    assert phase_of(parse_metadata, {**document, "issuer": "https://other"}, issuer) == "parse"


def phase_of(parse: Callable[..., object], *arguments: object) -> str | None:
    """The phase that a failure is named by; None for none."""
    try:
        parse(*arguments)
    except FetchFailed as failed:
        return failed.phase
    return None


@pytest.mark.parametrize("depth", [40, 10_000])
def test_deep_nesting_is_named_parse(depth: int) -> None:
    with pytest.raises(FetchFailed, match="nested too deep"):
        parse_object(b'{"a":' * depth + b"1" + b"}" * depth)
