"""Conditions on the client's TLS (RFC 8446 §4.2): what is not known never holds."""

import pytest

from sidecar.decision.condition import CLAUSES, Condition
from sidecar.decision.facts import Facts
from sidecar.decision.failure import Failure
from sidecar.decision.reason import Reason
from sidecar.decision.tls_condition import TlsGroup, TlsVersion
from tests.support.records import token
from tests.support.world import head, presenter

pytestmark = pytest.mark.field_cases


def judge(condition: Condition, version: str, group: str) -> Failure | None:
    client = presenter(tls_version=version, tls_group=group)
    return condition.failure(Facts(head(), token(), client, {}, 0))


@pytest.mark.parametrize(
    ("minimum", "came", "holds"),
    [
        ("1.2", "1.2", True),
        ("1.2", "1.3", True),
        ("1.3", "1.3", True),
        ("1.3", "1.2", False),
        ("1.2", "1.1", False),
        ("1.2", "1", False),
        ("1.2", "", False),
    ],
)
def test_version_is_that_one_or_a_later_one(minimum: str, came: str, holds: bool) -> None:
    assert (judge(TlsVersion(minimum), came, "X25519") is None) is holds


@pytest.mark.parametrize(
    ("groups", "came", "holds"),
    [
        (("X25519MLKEM768",), "X25519MLKEM768", True),
        (("X25519MLKEM768", "X25519"), "X25519", True),
        (("X25519MLKEM768",), "X25519", False),
        (("X25519",), "x25519", False),
        (("X25519",), "ffdhe2048", False),
        (("X25519",), "", False),
    ],
)
def test_group_is_one_of_those(groups: tuple[str, ...], came: str, holds: bool) -> None:
    assert (judge(TlsGroup(groups), "1.3", came) is None) is holds


UNKNOWN = "unknown: the client's TLS ended elsewhere, or nobody said what it was"


@pytest.mark.parametrize(
    ("condition", "version", "group", "failure"),
    [
        (TlsVersion("1.3"), "1.2", "P-256", ("tls.minimum_version", "1.3 or later", "1.2")),
        (TlsVersion("1.2"), "", "", ("tls.minimum_version", "1.2 or later", UNKNOWN)),
        (TlsGroup(("X25519", "P-256")), "1.3", "P-521", ("tls.groups", "X25519 or P-256", "P-521")),
        (TlsGroup(("X25519",)), "1.2", "", ("tls.groups", "X25519", "none in TLS 1.2")),
        (TlsGroup(("X25519",)), "", "", ("tls.groups", "X25519", UNKNOWN)),
    ],
)
def test_refusal_says_what_came(
    condition: Condition, version: str, group: str, failure: tuple[str, str, str]
) -> None:
    found = judge(condition, version, group)
    assert found is not None
    assert (found.check, found.expected, found.presented) == failure
    assert found.reason is Reason.CONDITION_FAILED


def test_condition_names_its_clause_and_its_place() -> None:
    assert CLAUSES["tls"] == "RFC 8446 §4.2"
    assert TlsGroup(("X25519",)).place == TlsVersion("1.3").place == ("tls",)
