"""Whatever the text: a configuration, or what is wrong with it; never anything else."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.settings import SettingsError, load
from sidecar.settings.document import parse
from tests.settings.test_service import EVERYTHING
from tests.support.configuration import POLICY, SERVICE, Configuration

SCALARS = st.one_of(
    st.sampled_from(
        [
            "no",
            "~",
            "1",
            "-1",
            "1.5",
            "75s",
            "1KiB",
            "&a",
            "*a",
            "!!str x",
            "true",
            "[]",
            "{}",
            "''",
            '"{id}"',
            "/a/{id}/**",
        ]
    ),
    st.text(max_size=12),
)


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_any_text_is_a_document_or_refused(text: str | bytes) -> None:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    try:
        document = parse("f", data)
    except SettingsError as error:
        said = error.problems
    else:
        said = tuple(document.problems)
        assert document.position(("a", 0, "b")) >= (1, 1)
    assert all("\n" not in str(problem) for problem in said)


def mutated(text: str, draw: st.DataObject) -> str:
    """The text with one piece of one line replaced, or a line lost, doubled or moved."""
    lines = text.splitlines()
    at = draw.draw(st.integers(0, len(lines) - 1))
    kind = draw.draw(st.sampled_from(["value", "cut", "double", "drop", "splice"]))
    match kind:
        case "value":
            head, colon, _ = lines[at].partition(": ")
            lines[at] = f"{head}{colon}{draw.draw(SCALARS)}"
        case "cut":
            lines[at] = lines[at][: draw.draw(st.integers(0, len(lines[at])))]
        case "double":
            lines.insert(at, lines[at])
        case "drop":
            del lines[at]
        case _:
            place = draw.draw(st.integers(0, len(lines[at])))
            lines[at] = lines[at][:place] + draw.draw(SCALARS) + lines[at][place:]
    return "\n".join(lines) + "\n"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
@given(draw=st.data())
def test_any_mutation_of_a_good_configuration_loads_or_is_refused(
    configuration: Configuration, draw: st.DataObject
) -> None:
    service, policy = draw.draw(st.sampled_from([SERVICE, EVERYTHING])), POLICY + EVERY_RULE
    if draw.draw(st.booleans()):
        service = mutated(service, draw)
    else:
        policy = mutated(policy, draw)
    configuration.file.write_bytes(service.encode("utf-8", "surrogatepass"))
    path: Path = configuration.folder / "policies" / "policy.yaml"
    path.write_bytes(policy.encode("utf-8", "surrogatepass"))
    try:
        loaded = load(configuration.file, absent_files_pass=True)
    except SettingsError as error:
        said = error.problems
        is_clear = bool(said)
    else:
        said = (*loaded.warnings, *loaded.dangers)
        is_clear = loaded.policy.matcher is not None
    assert is_clear
    assert all(problem.message and "\n" not in str(problem) for problem in said)


EVERY_RULE = """\
  - name: every
    match: {methods: [GET], path: "/a/{id}/**", host: api.example.com, query: {present: [a]}}
    require:
      scopes: [a, b]
      any_scope: [c]
      issuers: https://as.example.com
      audience: [x]
      client_id: app
      acr: [urn:mfa]
      max_authentication_age: 1h
      claims:
        tenant: acme
        region: [eu, us]
        account: "{id}"
        roles: {contains: reader, may_log: true}
        level: {at_least: 3, at_most: 9}
      authorization_details: [{type: payment, fields: {actions: {contains: read}}}]
      client_certificate:
        san_dns: {claim: client_id}
        san_uri: ["spiffe://prod/**"]
        not_after_margin: 1h
    binding: required
    report_only: {until: 2027-01-31}
    limits: {body_bytes: 1MiB}
    identity_headers: {X-Tenant: tenant}
    allow_ambiguous_paths: [encoded_slash]
"""
