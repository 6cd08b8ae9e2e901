"""The proofs of the benchmark are those of a client that does all that RFC 9449 asks of it."""

import hashlib
import time
from dataclasses import replace
from pathlib import Path

import jwt
import pytest

from bench.loads import LOADS, PROOFS, Window
from bench.material import Material, make_material
from bench.peers import PEERS
from bench.peers.site import Site
from bench.proofs import ORIGIN, PATH, Pool, make_pool
from sidecar.decision.confirmation.proof_key import ProofKeyThumbprint
from sidecar.decision.denial import Denied
from sidecar.decision.origin import Origin
from sidecar.decision.proof import Claim, ProofTerms, judge
from sidecar.decision.proof_policy import PROOF_POLICY
from sidecar.decision.reason import Reason
from sidecar.decision.replay import ENTRIES
from sidecar.decision.request import RequestHead
from sidecar.decision.token import AccessToken

TERMS = ProofTerms(PROOF_POLICY, (Origin(ORIGIN),))


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return make_material(tmp_path_factory.mktemp("material"))


def judged(pool: Pool) -> list[Claim]:
    """Each proof of a pool, with its token, as the sidecar sees them."""
    (token,) = pool.tokens.read_text().split()
    value = ProofKeyThumbprint().parse(
        jwt.decode(token, options={"verify_signature": False})["cnf"]["jkt"],
    )
    presented = AccessToken(token, hashlib.sha256(token.encode()).digest(), "DPoP")
    return [
        judge(RequestHead("GET", PATH, PATH, "", "", proofs=(proof,)), presented, value, TERMS, time.time())
        for proof in pool.proofs.read_text().split()
    ]


def test_each_proof_is_good_and_none_is_another(material: Material) -> None:
    claims = judged(make_pool(material, "good", 20))
    assert len({claim.token_id for claim in claims}) == 20
    assert len({claim.key for claim in claims}) == 1


def test_token_of_another_key_makes_a_pool_that_must_be_refused(material: Material) -> None:
    with pytest.raises(Denied) as caught:
        judged(make_pool(material, "stolen", 1, bound=False))
    assert caught.value.reason is Reason.PROOF_KEY_MISMATCH


def test_each_window_has_proofs_of_its_own(material: Material) -> None:
    """A peer must never see one again: neither of another round, nor of another peer's turn."""
    window = Window(0.001, 0.0, 0)
    seen = [LOADS["dpop-es256"].drive(material, window, 1) for _ in range(2)]
    assert seen[0].options == seen[1].options
    first = Path(str(seen[0].options["proofs"])).read_text().split()
    LOADS["dpop-es256"].drive(material, window, 1)
    again = Path(str(seen[0].options["proofs"])).read_text().split()
    assert len(first) == len(again) == 12
    assert not {*first} & {*again}


def test_no_pool_is_more_than_the_sidecar_remembers_of_one_key() -> None:
    """An eighth of the memory of used proofs."""
    assert PROOFS <= ENTRIES // 8


def test_proofs_of_an_earlier_run_are_gone(tmp_path: Path) -> None:
    """They fit no key any more."""
    make_pool(make_material(tmp_path), "old", 1)
    make_material(tmp_path)
    assert not [*tmp_path.glob("*.proofs"), *tmp_path.glob("*.tokens")]


def test_peers_that_verify_no_proof_are_not_asked(material: Material, tmp_path: Path) -> None:
    load = LOADS["dpop-es256"]
    taking = [name for name, peer in PEERS.items() if load.takes(peer)]
    assert taking == ["sidecar", "sidecar-asyncio", "sidecar-interpreted", "apache-mod_oauth2"]
    site = Site(tmp_path, tmp_path, material, port=8443, admin=9902, upstream=8080)
    PEERS["apache-mod_oauth2"].command(replace(site, dpop=True))
    assert "type=dpop" in (tmp_path / "apache.conf").read_text()
