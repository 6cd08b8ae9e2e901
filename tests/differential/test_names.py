"""Distinguished names as OpenSSL, the JDK and we compare them: nothing is equal here that is not equal for OpenSSL, and
each verdict that differs is explained. The page docs/authorization-server.md shows the table.
"""

import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from unicodedata import category

import pytest
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

from sidecar.decision.canonical_name import canonical
from sidecar.decision.distinguished_name import Unreadable
from tests.differential.names import BMP, IA5, PAIRS, T61, UNIVERSAL, Pair, Value, der, pairs
from tests.support.debian import program

PAGE = Path(__file__).parents[2] / "docs" / "authorization-server.md"
EQUAL, DIFFERENT, REFUSED = "equal", "different", "refused"


@cache
def corpus() -> tuple[tuple[Pair, bytes, bytes], ...]:
    return tuple((one, der(one.left), der(one.right)) for one in pairs())


def our_verdict(left: bytes, right: bytes) -> str:
    one, other = canonical(memoryview(left)), canonical(memoryview(right))
    if isinstance(one, Unreadable) or isinstance(other, Unreadable):
        return REFUSED
    return EQUAL if one == other else DIFFERENT


@cache
def ours() -> tuple[str, ...]:
    return tuple(our_verdict(left, right) for _, left, right in corpus())


def openssl_name(encoded: bytes) -> object:
    octets = _ffi.new("unsigned char[]", encoded)
    name = _lib.d2i_X509_NAME(_ffi.NULL, _ffi.new("unsigned char **", octets), len(encoded))
    if name == _ffi.NULL:
        _lib.ERR_clear_error()
        return None
    return _ffi.gc(name, _lib.X509_NAME_free)


def openssl_verdict(left: bytes, right: bytes) -> str:
    one, other = openssl_name(left), openssl_name(right)
    if one is None or other is None:
        return REFUSED
    return EQUAL if _lib.X509_NAME_cmp(one, other) == 0 else DIFFERENT


@cache
def openssl() -> tuple[str, ...]:
    return tuple(openssl_verdict(left, right) for _, left, right in corpus())


@cache
def jdk() -> tuple[str, ...]:
    """`javax.security.auth.x500.X500Principal.equals`, one process for all pairs."""
    java = program("java", "openjdk-17-jdk-headless")
    asked = "".join(f"{left.hex()} {right.hex()}\n" for _, left, right in corpus())
    command = [java, str(Path(__file__).with_name("Names.java"))]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
    return tuple(done.stdout.split())


# --- why verdicts differ


def _differing(pair: Pair) -> set[Value]:
    """The attributes that only one of the names has; all of them when both have the same."""
    left, right = ({one for relative in name for one in relative} for name in (pair.left, pair.right))
    return left ^ right or left


Explanation = tuple[str, Callable[[Value], bool]]
STRICTER_THAN_OPENSSL: Sequence[Explanation] = (
    (
        "a T61String beyond ASCII, which OpenSSL takes for Latin-1",
        lambda one: one.tag == T61 and not one.text.isascii(),
    ),
    (
        "a control character, some of which are spaces to OpenSSL",
        lambda one: any(category(character) == "Cc" for character in one.text),
    ),
    ("an empty value, or one of spaces", lambda one: not one.text.strip(" ")),
    (
        "an invisible character: compared by its encoding",
        lambda one: any(category(character) == "Cf" for character in one.text),
    ),
    ("an attribute with unknown matching rules: compared by its encoding", lambda one: one.kind == "1.2.3.4"),
)
STRICTER_THAN_JDK: Sequence[Explanation] = (
    *STRICTER_THAN_OPENSSL,
    (
        "the case of letters beyond ASCII, and forms of one character (NFC, NFKD)",
        lambda one: not one.text.isascii(),
    ),
)
LAXER_THAN_JDK: Sequence[Explanation] = (
    (
        "a string type other than PrintableString and UTF8String, which the JDK compares by its encoding",
        lambda one: one.tag in {T61, IA5, BMP, UNIVERSAL},
    ),
    (
        "an attribute without a keyword in RFC 2253, which the JDK compares by its encoding",
        lambda one: one.kind in {"emailAddress", "serialNumber", "organizationIdentifier", "givenName"},
    ),
    ("spaces before `#`, which the JDK keeps", lambda one: one.text.startswith(" #")),
)


def explained(theirs: Sequence[str], *, laxer: bool, by: Sequence[Explanation]) -> Counter[str]:
    """How many verdicts of ours are laxer (or stricter), by the first explanation; `unexplained` for what has none."""
    found: Counter[str] = Counter()
    for (pair, _, _), our, their in zip(corpus(), ours(), theirs, strict=True):
        if (our == EQUAL) is laxer and (their == EQUAL) is not laxer:
            values = _differing(pair)
            found[next((text for text, holds in by if any(map(holds, values))), "unexplained")] += 1
    return found


def agreed(theirs: Sequence[str]) -> tuple[int, int]:
    """How many pairs are equal for both, and different (or unreadable) for both."""
    both = Counter(
        our == EQUAL for our, their in zip(ours(), theirs, strict=True) if (our == EQUAL) is (their == EQUAL)
    )
    return both[True], both[False]


def test_corpus_holds_pairs_of_every_verdict() -> None:
    assert len(corpus()) == PAIRS >= 4000
    assert min(Counter(ours())[verdict] for verdict in (EQUAL, DIFFERENT, REFUSED)) > 500
    assert Counter(openssl())[EQUAL] > 1000


def test_nothing_is_equal_here_that_is_not_equal_for_openssl() -> None:
    accepted = [
        one for (one, _, _), our, their in zip(corpus(), ours(), openssl(), strict=True)
        if our == EQUAL and their != EQUAL
    ]  # fmt: skip
    assert accepted == []


def test_each_stricter_verdict_than_openssl_is_explained() -> None:
    found = explained(openssl(), laxer=False, by=STRICTER_THAN_OPENSSL)
    assert found.total() > 100
    assert found["unexplained"] == 0


@pytest.mark.real
def test_each_verdict_that_differs_from_the_jdks_is_explained() -> None:
    assert len(jdk()) == PAIRS
    for laxer, by in ((True, LAXER_THAN_JDK), (False, STRICTER_THAN_JDK)):
        found = explained(jdk(), laxer=laxer, by=by)
        assert found.total() > 100
        assert found["unexplained"] == 0


def table() -> list[str]:
    """Rows of the page."""
    rows = []
    for name, theirs, kinds in (
        ("OpenSSL `X509_NAME_cmp`", openssl(), (("stricter", False, STRICTER_THAN_OPENSSL),)),
        (
            "JDK 17 `X500Principal`",
            jdk(),
            (("stricter", False, STRICTER_THAN_JDK), ("equal in the sidecar only", True, LAXER_THAN_JDK)),
        ),
    ):
        equal, different = agreed(theirs)
        rows += [
            f"| {name} | equal for both | {equal} | |",
            f"| {name} | different for both | {different} | |",
        ]
        for word, laxer, by in kinds:
            found = explained(theirs, laxer=laxer, by=by)
            rows += [f"| {name} | {word} | {found[text]} | {text} |" for text, _ in by if found[text]]
    return rows


@pytest.mark.real
def test_page_shows_the_table() -> None:
    page = PAGE.read_text("utf-8")
    wanted = table()
    assert [row for row in wanted if row not in page] == [], "\n".join(wanted)
