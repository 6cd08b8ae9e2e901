import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision.denial import Denied, Reason
from sidecar.decision.matching import Matcher, RequestMatch
from sidecar.decision.path import ALLOWABLE, segments
from sidecar.decision.request import RequestHead
from tests.support.world import head


def match(path: str = "/**", *, ignore_case: bool = False, **facts: Any) -> RequestMatch:
    given: dict[str, Any] = {name: frozenset(values) for name, values in facts.items()}
    return RequestMatch(path=path, ignore_case=ignore_case, **given)


def first(matches: Sequence[RequestMatch], request: RequestHead, listener: str = "main") -> int | None:
    found = Matcher(matches).first(request, listener)
    return None if found is None else found[0]


@pytest.mark.parametrize(
    ("template", "fits", "fits_not"),
    [
        ("/", ["/"], ["/a"]),
        ("/a", ["/a"], ["/", "/a/", "/A", "/ab", "/a/b"]),
        ("/a/", ["/a/"], ["/a", "/a/b"]),
        ("/**", ["/", "/a", "/a/b/c", "/a/"], []),
        ("/a/**", ["/a", "/a/", "/a/b", "/a/b/c"], ["/", "/ab", "/b"]),
        ("/a/*", ["/a/b"], ["/a", "/a/", "/a/b/c"]),
        ("/a/*/c", ["/a/b/c"], ["/a/c", "/a/b/d"]),
        ("/a/{x}/**", ["/a/b", "/a/b/", "/a/b/c"], ["/a", "/a/"]),
        ("/*/b", ["/a/b", "/b/b"], ["/b", "/a/a"]),
        ("/caf%C3%A9", ["/caf%C3%A9", "/caf%c3%a9"], ["/cafe"]),
        ("*", ["*"], ["/*", "/"]),
        (
            "/a/{x}:go",
            ["/a/7:go", "/a/7%3Ago", "/a/7:x:go", "/a/:go:go"],
            ["/a/:go", "/a/7", "/a/7:go/", "/a/7:Go"],
        ),
        ("/{x}.json", ["/a.json", "/.json.json", "/a%20b.json"], ["/.json", "/json", "/a.json/b", "/ajson"]),
        ("/{x}:go/**", ["/7:go", "/7:go/a"], ["/7/a", "/:go/a"]),
    ],
)
def test_template_fits_these_paths_and_not_those(template: str, fits: list[str], fits_not: list[str]) -> None:
    for path in fits:
        assert first([match(template)], head(target=path)) == 0, path
    for path in fits_not:
        assert first([match(template)], head(target=path)) is None, path


def test_first_rule_that_fits_decides_whatever_its_shape() -> None:
    rules = [match("/a/{x}"), match("/a/b"), match("/**"), match("/a/**")]
    assert first(rules, head(target="/a/b")) == 0
    assert first(rules, head(target="/a/b/c")) == 2
    assert first(list(reversed(rules)), head(target="/a/b")) == 0
    assert first(rules[1:], head(target="/a/b")) == 0
    assert first(rules[1:], head(target="/a/c")) == 1


def test_end_of_a_segment_leads_to_its_own_rule_and_is_no_part_of_what_is_captured() -> None:
    matcher = Matcher([match("/users/{id}:suspend"), match("/users/{id}"), match("/{a}.json/{b}/{c}:x/**")])
    assert matcher.first(head(target="/users/7:suspend")) == (0, {"id": "7"})
    assert matcher.first(head(target="/users/7")) == (1, {"id": "7"})
    assert matcher.first(head(target="/users/7:resume")) == (1, {"id": "7:resume"})
    assert matcher.first(head(target="/r.json/b/7:x/y")) == (2, {"a": "r", "b": "b", "c": "7"})
    assert matcher.first(head(target="/users/:suspend")) == (1, {"id": ":suspend"})


def test_end_of_a_segment_is_compared_without_case_where_the_rule_says_so() -> None:
    matcher = Matcher([RequestMatch(path="/users/{id}:suspend", ignore_case=True)])
    assert matcher.first(head(target="/USERS/A:Suspend")) == (0, {"id": "A"})
    assert matcher.first(head(target="/users/:suspend")) is None
    assert first([match("/users/{id}:suspend")], head(target="/users/7:Suspend")) is None


def test_reading_without_parameters_does_not_lead_around_the_end_of_a_segment() -> None:
    rules = [match("/users/{id}:suspend"), match("/users/{id}")]
    matcher = Matcher(rules, [frozenset(), frozenset({"semicolon"})])
    with pytest.raises(Denied) as denied:
        matcher.first(head(target="/users/7:suspend;x"))
    assert denied.value.reason is Reason.PATH_AMBIGUOUS
    assert matcher.first(head(target="/users/7;x")) == (1, {"id": "7;x"})


def test_no_rule_means_no_match() -> None:
    assert first([], head()) is None


def test_captures_are_decoded_segments() -> None:
    found = Matcher([match("/{kind}/{id}/**")]).first(head(target="/users/alice%40example.com/x"))
    assert found is not None
    assert dict(found[1]) == {"kind": "users", "id": "alice@example.com"}
    again = Matcher([match("/users/**")]).first(head(target="/users/x"))
    assert again is not None
    assert dict(again[1]) == {}


def test_methods_are_case_sensitive() -> None:
    rules = [match(methods=["GET", "HEAD"])]
    assert first(rules, head(method="HEAD")) == 0
    assert first(rules, head(method="get")) is None
    assert first(rules, head(method="POST")) is None


def test_hosts_are_exact_or_under_a_suffix() -> None:
    rules = [
        match(hosts=["api.example.com"]), match(hosts=["*.example.com", "other.org"]), match(hosts=["*.org"]),
        match("/public/**"),
    ]  # fmt: skip
    assert first(rules, head(host="api.example.com")) == 0
    assert first(rules, head(host="www.example.com")) == 1
    assert first(rules, head(host="a.b.example.com")) == 1
    assert first(rules, head(host="example.com")) is None
    assert first(rules, head(host="evil-example.com")) is None
    assert first(rules, head(host="other.org")) == 1
    assert first(rules, head(host="x.other.org")) == 2
    assert first(rules, head(host="")) is None
    assert first(rules, head(host="elsewhere", target="/public/x")) == 3
    assert first(rules, head(host="api.example.com", target="/public/x")) == 0


def test_rule_for_any_host_that_stands_earlier_wins() -> None:
    rules = [match("/public/**"), match(hosts=["api.example.com"])]
    assert first(rules, head(target="/public/x")) == 0
    assert first(rules, head(target="/x")) == 1


def test_listeners_are_matched_by_name() -> None:
    rules = [match(listeners=["internal"])]
    assert first(rules, head(), "internal") == 0
    assert first(rules, head(), "main") is None


def test_query_keys_must_be_there_or_not() -> None:
    rules = [match(query_present=["admin"], query_absent=["dry"]), match(query_absent=["wsdl"])]
    assert first(rules, head(target="/a?admin=1")) == 0
    assert first(rules, head(target="/a?%61dmin")) == 0
    assert first(rules, head(target="/a?admin&dry")) == 1
    assert first(rules, head(target="/a?admin&dry&wsdl")) is None
    assert first(rules, head(target="/a?x=1;wsdl")) is None
    assert first(rules, head(target="/a")) == 1


def refused(matches: Sequence[RequestMatch], path: str, allowances: Any = None) -> str:
    with pytest.raises(Denied) as caught:
        Matcher(matches, allowances).first(head(target=path))
    assert caught.value.reason is Reason.PATH_AMBIGUOUS
    return caught.value.failure.presented


def test_ambiguous_path_is_refused_whether_a_rule_fits_or_not() -> None:
    assert refused([match()], "/a//b") == "double_slash"
    assert refused([match("/x")], "/a%2Fb;c") == "encoded_slash semicolon"


def test_rule_may_allow_a_kind_by_name() -> None:
    matcher = Matcher([match("/files/{name}")], [frozenset({"encoded_slash"})])
    found = matcher.first(head(target="/files/a%2Fb"))
    assert found is not None
    assert (found[0], dict(found[1])) == (0, {"name": "a/b"})


def test_allowance_holds_for_its_own_rule_and_kind_only() -> None:
    rules, allowed = [match("/files/{name}")], [frozenset({"encoded_slash"})]
    assert Matcher(rules, allowed).first(head(target="/files/a%2Fb")) is not None
    assert refused(rules, "/files/a%2Fb;c", allowed) == "encoded_slash semicolon"
    assert refused(rules, "/other/a%2Fb", allowed) == "encoded_slash"


def test_allowance_never_leads_past_another_rule() -> None:
    """A server behind us that drops `;x` would serve `/admin`, which another rule guards."""
    rules = [match("/admin/**"), match("/**")]
    allowed = [frozenset[str](), frozenset({"semicolon", "encoded_slash", "double_slash"})]
    assert refused(rules, "/admin;x/users", allowed) == "semicolon"
    assert refused(rules, "/admin%2Fusers", allowed) == "encoded_slash"
    assert refused(rules, "//admin/users", allowed) == "double_slash"
    assert Matcher(rules, allowed).first(head(target="/blog;x/users")) is not None


@pytest.mark.parametrize("path", ["/a/../b", "/a/%2e%2e/b", "/a%00", "/a%", "/%c0%af", "a"])
def test_what_can_never_be_allowed_is_refused_under_every_allowance(path: str) -> None:
    assert refused([match()], path, [frozenset(ALLOWABLE)])


def test_kind_that_cannot_be_allowed_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="dot_segment"):
        Matcher([match()], [frozenset({"dot_segment"})])


def test_thousand_rules_are_one_tree() -> None:
    rules = [match(f"/service-{number}/{{id}}/**", methods=["GET"]) for number in range(1000)]
    assert first(rules, head(target="/service-999/7/x")) == 999
    assert first(rules, head(target="/service-1000/7/x")) is None


# --- the same answers as the plainest possible matcher -------------------------------------------

NAMES = st.sampled_from(["a", "b", "c"])
PARTS = st.one_of(NAMES, st.just("*"), st.just("{x}"))
TEMPLATES = st.builds(
    lambda parts, end: "/" + "/".join([*dict.fromkeys(parts[:1]), *parts[1:]]) + end,
    st.lists(PARTS, max_size=3).filter(lambda parts: parts.count("{x}") <= 1),
    st.sampled_from(["", "/**"]),
).map(lambda text: text.replace("//", "/"))
SETS = st.one_of(st.just(()), st.lists(NAMES, max_size=2))
MATCHES = st.builds(
    lambda path, methods, hosts, listeners, present, absent: match(
        path, methods=methods, hosts=hosts, listeners=listeners, query_present=present, query_absent=absent
    ),
    TEMPLATES, SETS, st.one_of(st.just(()), st.lists(st.sampled_from(["h", "g.h", "*.h"]), max_size=2)),
    SETS, SETS, SETS,
)  # fmt: skip


def plainly_fits(rule: RequestMatch, request: RequestHead, listener: str) -> bool:
    wanted, parts = rule.path[1:].split("/"), segments(request.path)[0]
    if wanted[-1] == "**":
        wanted, parts = wanted[:-1], parts[: len(wanted) - 1]
    names = set(filter(None, request.query.split("&")))
    return (
        len(wanted) == len(parts)
        and all(
            (part and template in {"*", "{x}"}) or part == template
            for template, part in zip(wanted, parts, strict=True)
        )
        and (not rule.methods or request.method in rule.methods)
        and (not rule.listeners or listener in rule.listeners)
        and (
            not rule.hosts
            or any(
                request.host == host or (host == "*.h" and request.host.endswith(".h")) for host in rule.hosts
            )
        )
        and rule.query_present <= names
        and not rule.query_absent & names
    )


REQUESTS = st.builds(
    lambda parts, query, method, host: head(
        method=method, target=f"/{'/'.join(parts)}?{'&'.join(query)}", host=host
    ),
    st.lists(NAMES, max_size=4), st.lists(NAMES, max_size=2), NAMES, st.sampled_from(["h", "g.h", "f.g.h", "z"]),
)  # fmt: skip


@given(rules=st.lists(MATCHES, max_size=8), request=REQUESTS, listener=NAMES)
def test_tree_answers_as_a_search_one_by_one_does(
    rules: list[RequestMatch], request: RequestHead, listener: str
) -> None:
    plain = next((at for at, rule in enumerate(rules) if plainly_fits(rule, request, listener)), None)
    assert first(rules, request, listener) == plain


def test_captures_of_a_rule_without_any_are_read_only() -> None:
    found = Matcher([match()]).first(head())
    assert found is not None
    with pytest.raises(TypeError):
        found[1]["id"] = "1"  # type: ignore[index]  # the shared empty mapping must not take anything


def test_matcher_that_went_through_a_pickle_finds_the_same() -> None:
    matcher = Matcher(
        [match("/a%2Fb"), match("/{id}", hosts=["*.test"])], [frozenset({"encoded_slash"}), frozenset()]
    )
    again: Matcher = pickle.loads(pickle.dumps(matcher))
    for request in (
        head(target="/a%2Fb"),
        head(target="/7", host="api.test"),
        head(target="/7", host="other"),
    ):
        assert again.first(request) == matcher.first(request)
    assert again.first(head(target="/7", host="api.test")) == (1, {"id": "7"})


# --- case ----------------------------------------------------------------------------------------


@pytest.mark.field_cases
@pytest.mark.parametrize(
    "path", ["/admin/users", "/Admin/users", "/ADMIN/Users", "/%C3%84dmin/x", "/\u00e4dmin"]
)
def test_template_that_ignores_case_fits_what_such_an_api_takes_for_its_path(path: str) -> None:
    matches = [match("/admin/**", ignore_case=True), match("/\u00e4DMIN/**", ignore_case=True), match("/**")]
    found = first(matches, head(target=path)) if path.isascii() else 1
    assert found == (1 if path in {"/%C3%84dmin/x", "/\u00e4dmin"} else 0)


def test_templates_with_and_without_case_stand_side_by_side_in_policy_order() -> None:
    matches = [
        match("/a/B"),
        match("/a/{x}/c"),
        match("/A/b", ignore_case=True),
        match("/a/b/c", ignore_case=True),
    ]
    targets = ["/a/B", "/a/b", "/A/B", "/a/B/c", "/A/B/c"]
    assert [first(matches, head(target=target)) for target in targets] == [0, 2, 2, 1, 3]


def test_captures_keep_their_case() -> None:
    found = Matcher([match("/Users/{id}", ignore_case=True)]).first(head(target="/uSERS/Alice"))
    assert found == (0, {"id": "Alice"})


def test_query_keys_are_compared_without_case_too() -> None:
    matches = [
        match(ignore_case=True, query_absent=["Debug"]),
        match(ignore_case=True, query_present=["WSDL"]),
    ]
    targets = ["/", "/?a", "/?DEBUG", "/?debug&wsdl", "/?debug&Wsdl=1"]
    assert [first(matches, head(target=target)) for target in targets] == [0, 0, None, 1, 1]


def test_other_reading_that_leads_to_a_template_without_case_is_refused() -> None:
    matcher = Matcher(
        [match("/admin/**", ignore_case=True), match()], [frozenset(), frozenset({"encoded_slash"})]
    )
    assert matcher.first(head(target="/files%2Fx")) == (1, {})
    with pytest.raises(Denied) as caught:
        matcher.first(head(target="/ADMIN%2Fx"))
    assert caught.value.reason is Reason.PATH_AMBIGUOUS


# --- bounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/" * 300, "/a%252fb%255cc;d//e"])
def test_path_that_takes_more_work_than_it_is_worth_is_too_long(target: str) -> None:
    with pytest.raises(Denied) as caught:
        Matcher([match()], [frozenset(ALLOWABLE)]).first(head(target=target))
    assert caught.value.reason is Reason.TARGET_TOO_LONG


@pytest.mark.parametrize(
    ("ignore_case", "fits", "fits_not"),
    [
        (
            False,
            ["/a.B/Get", "/a.b/G-t"],
            ["/A.B/Get", "/a.B/get", "/a.B/Gt", "/a./Get", "/a.b.c/Get", "/a.B/"],
        ),
        (True, ["/a.B/Get", "/A.B/GET"], ["/a.b.c/get", "/b.b/get"]),
    ],
)
def test_a_segment_that_is_left_open_fits_its_pattern(
    ignore_case: bool, fits: list[str], fits_not: list[str]
) -> None:
    wild = RequestMatch(path="/*/*", patterns=((0, "a.*"), (1, "G*t")), ignore_case=ignore_case)
    assert [path for path in fits if first([wild], head(target=path)) is None] == []
    assert [path for path in fits_not if first([wild], head(target=path)) is not None] == []


def test_a_pattern_survives_a_pickle() -> None:
    matcher = pickle.loads(pickle.dumps(Matcher([RequestMatch(path="/*", patterns=((0, "a.*"),))])))
    assert matcher.first(head(target="/a.b")) is not None
    assert matcher.first(head(target="/b.b")) is None
