"""What a token request costs, without a clock: calls that the sidecar's own code makes, beside an ordinary POST."""

import json
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import sidecar
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.token_endpoint import TokenWorld, answer, form

PACKAGE = str(Path(sidecar.__file__).parent)
MOST = {"/token": 360, "/revoke": 280}
"""Calls of Python functions and of C functions from the sidecar's code, by a client that was seen before: its form, its
name and its certificate, the field for the server, and for the token endpoint the audit of a JWT."""


def test_a_token_request_costs_no_more_calls_than_it_did(
    pki: Pki, signing_key: SigningKey, tmp_path: Path
) -> None:
    granted = answer(json.dumps({"access_token": signing_key.token(pki.client), "expires_in": 300}).encode())
    counted: Counter[str] = Counter()

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        if event in ("call", "c_call") and frame.f_code.co_filename.startswith(PACKAGE):
            counted[path] += 1

    with TokenWorld(pki, tmp_path).conversation() as talk:
        client = talk.client(pki.client)
        for path in ("/other", "/token", "/revoke"):
            for is_counted in (False, False, False, True):
                sys.setprofile(profile if is_counted else None)
                client.says(
                    form(path, client_id="tpp-1", scope="accounts:read", resource="https://api.example")
                )
                talk.upstreams[0].says(granted)
                sys.setprofile(None)
                assert client.answer().status == 200
    print(dict(counted))
    for path, most in MOST.items():
        assert most * 0.9 <= counted[path] <= most
    assert counted["/token"] < 2 * counted["/other"]
