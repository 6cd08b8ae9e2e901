"""The files that `sidecar init` writes: text with comments, to be read and changed by a person."""

import json
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sidecar.command.issuer_look import IssuerFacts

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9]*:[A-Za-z0-9/._~%+@:-]*[A-Za-z0-9/_~%+@-]")
"""A URL or URN that YAML reads as the text it is."""


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """What was asked for, and what was found."""

    issuer: str
    audience: str
    upstream: str
    ca_file: Path | None
    """Absolute."""
    address: tuple[str, int]
    """The address of the sidecar: host, `*` for all, and port."""
    until: date
    """The first day on which the policy is enforced."""
    found: IssuerFacts | None

    def files(self) -> dict[str, str]:
        """Name → text."""
        return {"sidecar.yaml": self._service(), "policy.yaml": self._policy(), "cases.yaml": self._cases()}

    def _service(self) -> str:
        host, port = self.address
        if ":" in host:
            host = f"[{host}]"
        return f"""\
# The service file: where to listen, what to protect, which policy. Paths are relative to this file.
# Every key: docs/reference.md. After a change: sidecar check, then `kill -HUP` (docs/operations.md).
listeners:
  - address: "{host}:{port}"
    tls: {{certificate_file: tls/server.crt, private_key_file: tls/server.key}}
    client_certificate:
      trust: any              # possession of the key is what counts (RFC 8705 §6.2); `ca`: the chain is verified, too
      at_handshake: optional  # without a certificate the policy decides; the handshake does not fail
upstream:
  url: {scalar(self.upstream)}   # clients must not be able to reach it directly
  identity_headers:           # set by the sidecar; fields with these names are removed from clients' requests
    X-Auth-Subject: sub
    X-Auth-Client: client_id
policy_files: [policy.yaml]
health: {{address: "{host}:9902"}}         # /livez /readyz /metrics
admin: {{address: "127.0.0.1:9901"}}      # the admin page: `sidecar admin-url` prints the link
logging: {{format: json, access: all}}    # one line per request; `sidecar report` reads them
"""

    def _policy(self) -> str:
        lines = [
            "# The policy: which issuers to trust, and what each request must present. The first rule that matches",
            "# decides; if no rule matches, the answer is 403. docs/policy.md has every condition.",
            f"report_only: {{until: {self.until}}}   # until then unbound tokens pass, and are recorded",
            "issuers:",
            f"  - issuer: {scalar(self.issuer)}",
            f"    audience: {scalar(self.audience)}   # must be in `aud` of its tokens",
            "    keys: {discovery: true}",
        ]
        if self.ca_file is not None:
            lines.append(f"    http: {{ca_file: {json.dumps(str(self.ca_file), ensure_ascii=False)}}}")
        if self.found is not None and self.found.algorithms:
            lines.append(
                f"    algorithms: [{', '.join(self.found.algorithms)}]   # of the keys that the issuer publishes"
            )
        lines += [
            "    binding: required       # every token must be bound to a certificate (cnf x5t#S256, RFC 8705 §3)",
            "rules:",
            "  # - name: health          # a route without a token, such as a probe",
            "  #   match: {methods: [GET], path: /healthz}",
            "  #   public: true",
            "  - name: everything",
            "    match: {path: /**}",
            "    # require: {scopes: [accounts:read]}",
        ]
        return "\n".join(lines) + "\n"

    def _cases(self) -> str:
        return f"""\
# Unit tests of the policy: sidecar test --config sidecar.yaml cases.yaml
# Keys, tokens and certificates are made for the run.
cases:
  - name: once the policy is enforced, a stolen token is worth nothing
    at: {self.until}
    request: {{target: /}}
    certificate: thief
    token: {{bound_to: alice}}
    expect: {{status: 401, reason: binding_mismatch}}
"""


def scalar(text: str) -> str:
    """`text` as a YAML scalar: plain if all parsers read it the same way, otherwise in double quotes."""
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
