"""Names of key-exchange groups: one for each, and few enough for a metric."""

import pytest

from sidecar.decision.key_exchange import GROUPS, group_label, group_named


@pytest.mark.parametrize(
    ("openssl", "name"),
    [
        ("X25519MLKEM768", "X25519MLKEM768"),
        ("x25519", "X25519"),
        ("secp256r1", "P-256"),
        ("prime256v1", "P-256"),
        ("secp384r1", "P-384"),
        ("secp521r1", "P-521"),
        ("ffdhe2048", "ffdhe2048"),
    ],
)
def test_a_group_has_the_name_that_settings_use(openssl: str, name: str) -> None:
    assert group_named(openssl) == name


@pytest.mark.parametrize("name", sorted(GROUPS))
def test_a_name_of_the_settings_is_its_own_label(name: str) -> None:
    assert group_label(group_named(name)) == name


@pytest.mark.parametrize(("group", "label"), [("ffdhe2048", "other"), ("anything", "other"), ("", "none")])
def test_labels_are_a_closed_list(group: str, label: str) -> None:
    assert group_label(group) == label
