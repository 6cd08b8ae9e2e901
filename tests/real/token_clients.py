"""OAuth client libraries that authenticate by a certificate (RFC 8705 §2), as a program that uses them sees answers."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.real.clients import CLIENT_SECONDS
from tests.support.mint import AUDIENCE
from tests.support.pki import Identity, Pki, certificate_pem

HERE = Path(__file__).parent
LIBRARIES = ("openid-client", "oauth4webapi", "Authlib", "curl")
_AUTHLIB = """
import json, sys
from authlib.integrations.requests_client import OAuth2Session
told = json.loads(sys.stdin.read())
session = OAuth2Session(told["client_id"], token_endpoint_auth_method="none")
session.verify, session.cert, session.trust_env = told["ca"], (told["cert"], told["key"]), False
try:
    token = session.fetch_token(told["endpoint"], grant_type="client_credentials", **told["parameters"])
    print(json.dumps({"token": token["access_token"]}))
except Exception as problem:
    code = getattr(getattr(problem, "response", None), "status_code", None)
    print(json.dumps({"name": type(problem).__name__, "error": getattr(problem, "error", None), "status": code}))
"""


def ask(library: str, folder: Path, pki: Pki, issuer: str, client: tuple[str, Identity]) -> dict[str, Any]:
    """A token by client credentials (`token`), or how the library tells of a refusal."""
    client_id, identity = client
    told: dict[str, Any]
    folder.mkdir(parents=True, exist_ok=True)
    files = identity.write(folder, "client")
    authority = folder / "ca.pem"
    authority.write_bytes(certificate_pem(pki.server_authority.certificate))
    parameters = {"resource": f"{AUDIENCE}/ES256", "scope": "accounts:read"}
    if library == "curl":
        form = {"grant_type": "client_credentials", "client_id": client_id, **parameters}
        command = ["curl", "-q", "--silent", "--show-error", "--noproxy", "*", "--cacert", str(authority)]
        command += ["--cert", str(files.certificate), "--key", str(files.private_key), "--fail-with-body"]
        command += [part for name, value in form.items() for part in ("--data-urlencode", f"{name}={value}")]
        done = subprocess.run(
            [*command, f"{issuer}/token"], capture_output=True, text=True, timeout=CLIENT_SECONDS, check=False
        )
        answer = json.loads(done.stdout)
        return {
            "token": answer.get("access_token"),
            "error": answer.get("error"),
            "name": f"exit code {done.returncode}",
        }
    told = {"parameters": parameters, "issuer": issuer, "library": library}
    if library == "Authlib":
        told |= {"client_id": client_id, "endpoint": f"{issuer}/token", "ca": str(authority)}
        told |= {"cert": str(files.certificate), "key": str(files.private_key)}
        program = [sys.executable, "-c", _AUTHLIB]
    else:
        told |= {"clientId": client_id, "ca": authority.read_text(), "cert": identity.pem.decode()}
        told |= {"key": identity.key_pem.decode()}
        program = ["node", str(HERE / "token_client.mjs")]
    done = subprocess.run(
        program, input=json.dumps(told), capture_output=True, text=True, timeout=CLIENT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))
