"""Examples that the RFCs print, attacks that others suffered, and the clauses that the tests answer for."""

import ast
import json
from pathlib import Path
from typing import Any

import jwt
import pytest

from sidecar.decision import jose
from sidecar.decision.denial import Denied
from sidecar.decision.ports import VerificationKey
from sidecar.decision.strict import Malformed, base64url
from sidecar.decision.token import AccessToken
from tests.support.mint import segment
from tests.support.world import ALGORITHMS, Jwks

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ALGORITHM_OF = {"P-256": "ES256", "Ed25519": "EdDSA"}


def vectors(name: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((HERE / f"{name}.json").read_text())
    return loaded


@pytest.mark.parametrize("vector", vectors("jws"), ids=lambda vector: vector["name"])
def test_jws_comes_out_as_its_source_says(vector: dict[str, Any]) -> None:
    text = f"{segment(vector['header'])}.{segment(vector['payload'])}.{vector['signature']}"
    algorithm = ALGORITHM_OF[vector["key"]["crv"]]
    key = VerificationKey(None, frozenset({algorithm}), jwt.PyJWK(vector["key"], algorithm).key)
    try:
        verified = jose.verify(jose.parse(AccessToken(text, b"key")), ALGORITHMS, Jwks((key,)))
        outcome = "verified" if verified.claims == json.loads(vector["payload"]) else "other claims"
    except Denied as denied:
        outcome = denied.reason.value
    assert outcome == vector["expected"]


@pytest.mark.parametrize("vector", vectors("base64url"), ids=lambda vector: repr(vector["text"]))
def test_base64url_is_read_as_the_rfcs_print_it(vector: dict[str, Any]) -> None:
    try:
        decoded: str | None = base64url(vector["text"]).hex()
    except Malformed:
        decoded = None
    assert decoded == vector["hex"]


@pytest.mark.parametrize("row", vectors("clauses"), ids=lambda row: row["clause"])
def test_clause_is_answered_for_by_tests_that_exist(row: dict[str, Any]) -> None:
    assert row["words"]
    assert row["tests"]
    for name in row["tests"]:
        file, _, function = name.partition("::")
        tree = ast.parse((ROOT / file).read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name
