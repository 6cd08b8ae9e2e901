"""Where keys come from, and how long the answer may be used."""

import asyncio
import json
from pathlib import Path

import pytest

from sidecar.issuer.configuration import JwksFile
from sidecar.issuer.http import Fetched, FetchFailed
from sidecar.issuer.origin import FetchedKeys, FileOrigin, max_age
from tests.support.mint import SigningKey, jwks


def age(**headers: str) -> float | None:
    return max_age(Fetched(b"", "", {name.replace("_", "-"): value for name, value in headers.items()}))


@pytest.mark.parametrize(
    ("directives", "seconds"),
    [
        ("max-age=600", 600),
        ("public, max-age=21600, must-revalidate", 21600),
        ('max-age="60"', 60),
        ("Max-Age=60", 60),
        ("max-age=0", 0),
        ("no-cache", 0),
        ("no-store, max-age=600", 0),
        ("public", None),
        ("", None),
        ("max-age=-1", None),
        ("max-age=soon", None),
        ("max-age=1e9", None),
        ("max-age=99999999999", None),
        ("s-maxage=60", None),
    ],
)
def test_cache_control_is_read(directives: str, seconds: float | None) -> None:
    assert age(Cache_Control=directives) == seconds


def test_time_spent_in_caches_counts() -> None:
    assert age(Cache_Control="max-age=600", Age="100") == 500
    assert age(Cache_Control="max-age=600", Age="1000") == 0
    assert age(Cache_Control="max-age=600", Age="x") == 600


def origin(path: Path, limit: int = 1 << 20) -> FileOrigin:
    return FileOrigin(JwksFile(path, 0.1), limit)


def looked(given: FileOrigin) -> FetchedKeys | None:
    return asyncio.run(given.fetch())


def test_file_is_read_when_it_changed_and_only_then(tmp_path: Path, signing_key: SigningKey) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(jwks(signing_key)))
    given = origin(file)
    first = looked(given)
    assert first is not None
    assert first.document == jwks(signing_key)
    assert looked(given) is None
    file.write_text(json.dumps(jwks()))
    second = looked(given)
    assert second is not None
    assert second.document == {"keys": []}


def test_swapped_link_is_a_change(tmp_path: Path, signing_key: SigningKey) -> None:
    # How Kubernetes replaces a mounted ConfigMap: `..data` is a link that is renamed over.
    for name, keys in (("1", jwks()), ("2", jwks(signing_key))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "jwks.json").write_text(json.dumps(keys))
    (tmp_path / "..data").symlink_to("1")
    given = origin(tmp_path / "..data" / "jwks.json")
    assert looked(given) is not None
    (tmp_path / "..new").symlink_to("2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    second = looked(given)
    assert second is not None
    assert second.document == jwks(signing_key)


def test_missing_file_is_named_connect(tmp_path: Path) -> None:
    with pytest.raises(FetchFailed) as caught:
        looked(origin(tmp_path / "missing.json"))
    assert caught.value.phase == "connect"
    assert "No such file" in caught.value.detail


def test_file_past_the_limit_is_named_size(tmp_path: Path) -> None:
    (tmp_path / "large.json").write_bytes(b" " * 2000)
    with pytest.raises(FetchFailed) as caught:
        looked(origin(tmp_path / "large.json", 1999))
    assert caught.value.phase == "size"


def test_broken_file_is_named_parse_once(tmp_path: Path, signing_key: SigningKey) -> None:
    file = tmp_path / "jwks.json"
    file.write_text('{"keys": [')
    given = origin(file)
    with pytest.raises(FetchFailed) as caught:
        looked(given)
    assert caught.value.phase == "parse"
    assert looked(given) is None
    file.write_text(json.dumps(jwks(signing_key)))
    assert looked(given) is not None


def test_file_that_comes_back_is_read_again(tmp_path: Path, signing_key: SigningKey) -> None:
    file, away = tmp_path / "jwks.json", tmp_path / "away.json"
    file.write_text(json.dumps(jwks(signing_key)))
    given = origin(file)
    assert looked(given) is not None
    file.rename(away)
    with pytest.raises(FetchFailed):
        looked(given)
    away.rename(file)
    assert looked(given) is not None
