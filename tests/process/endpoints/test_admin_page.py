"""The admin page in a real browser: what an engineer sees, filters, pauses and asks, by mouse and by keyboard."""

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.process.endpoints.test_admin import REPORTING
from tests.process.world import fast, generation, get
from tests.support.debian import program
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.processes import eventually
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar

pytestmark = pytest.mark.timeout(300)  # the first test may have to install Chromium

SHOTS = Path("build/screenshots")
"""Where each run leaves what it saw; docs/images holds the ones that were looked at."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=program("chromium", "chromium"), args=["--no-sandbox"]
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, pki: Pki, signing_key: SigningKey) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("page")
    with Recorder() as upstream:
        running = Sidecar(
            folder, pki, upstream.url, policy_document=REPORTING, keys=[signing_key], service=fast(None)
        )
        with running:
            yield running


@pytest.fixture
def page(browser: Browser, one: Sidecar, pki: Pki, signing_key: SigningKey) -> Iterator[Page]:
    """The page, with a few decisions in it; fails the test if the browser complained about anything."""
    requests(one, pki, signing_key)
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    opened = context.new_page()
    complaints: list[str] = []
    opened.on(
        "console",
        lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None,
    )
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(one.admin_link)
    expect(opened.locator("#readiness")).to_have_text("ready")
    expect(opened.locator("#decisions > li").first).to_be_visible()
    yield opened
    assert [complaint for complaint in complaints if "status of 400" not in complaint] == []
    context.close()


def requests(one: Sidecar, pki: Pki, key: SigningKey) -> None:
    with one.connect(pki.client) as wire:
        good = key.token(pki.client)
        for number in range(3):
            assert wire.request("GET", f"/accounts/{number}", token=good).status == 200
        assert wire.request("GET", "/accounts/other", token=key.token(pki.other_client)).status == 401
        assert wire.request("POST", "/payments/1", token=good).status == 200
        assert wire.request("GET", "/elsewhere", token=good).status == 403


def rows(page: Page) -> list[str]:
    return page.locator("#decisions summary .request").all_inner_texts()


def test_decisions_appear_as_they_come(page: Page, one: Sidecar) -> None:
    with one.connect() as wire:
        wire.request("GET", "/public/just-now")
    expect(page.locator("#decisions summary .request").first).to_have_text("GET /public/just-now")


def test_refusal_opens_to_its_steps_by_keyboard_alone(page: Page) -> None:
    page.locator("#pause").click()
    summary = page.locator("#decisions summary", has_text="binding_mismatch").first
    summary.focus()
    page.keyboard.press("Enter")
    steps = page.locator("#decisions details[open] .steps")
    expect(steps.locator("li", has_text="cnf.x5t#S256").locator(".badge")).to_have_text("failed")
    expect(steps).to_contain_text("RFC 8705 §3")
    expect(page.locator("#decisions details[open] .members")).to_contain_text("presented thumbprint")


def test_filter_by_word_and_by_outcome(page: Page) -> None:
    page.keyboard.press("/")
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.type("elsewhere")
    eventually(lambda: set(rows(page)) == {"GET /elsewhere"})
    expect(page.locator("#decisions > li").first).to_contain_text("rule_unmatched")
    page.locator("#text").fill("")
    page.locator("#outcome").select_option("report")
    eventually(lambda: set(rows(page)) == {"POST /payments/1"})
    page.locator("#text").fill("no such thing")
    eventually(lambda: rows(page) == [])


def test_pause_holds_new_decisions_back_and_resume_brings_them(page: Page, one: Sidecar) -> None:
    page.locator("body").press("p")
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "true")
    with one.connect() as wire:
        wire.request("GET", "/public/while-paused")
    expect(page.locator("#live-state")).to_contain_text("paused, 1 new")
    assert "GET /public/while-paused" not in rows(page)
    page.locator("#pause").click()
    expect(page.locator("#decisions summary .request").first).to_have_text("GET /public/while-paused")


def test_counts_issuers_certificates_and_configuration_are_shown(page: Page, one: Sidecar) -> None:
    expect(page.locator("#reasons")).to_contain_text("binding_mismatch")
    expect(page.locator("#rules")).to_contain_text("payments")
    expect(page.locator("#issuers")).to_contain_text("https://as.example.com")
    expect(page.locator("#issuers")).to_contain_text("1 key")
    expect(page.locator("#certificates")).to_contain_text("CN=localhost")
    expect(page.locator("#configuration")).to_contain_text(f"generation {generation(one)} in force")
    expect(page.locator("#chart-all polyline")).to_be_attached()


def test_upstream_card_shows_what_the_decision_and_the_api_took(page: Page) -> None:
    expect(page.locator("#upstream-name")).to_contain_text("http://127.0.0.1:")
    for what in ["decision", "upstream"]:
        row = page.locator(f"#durations [data-name='{what}']")
        for part in ["p50", "p99"]:
            expect(row.locator(f"[data-part='{part}']")).to_have_text(
                re.compile(rf"{part} [≈>] [\d.]+ (µs|ms|s)")
            )
        expect(row).to_contain_text(re.compile("of [1-9]"))
    expect(page.locator("#durations-since")).to_contain_text(re.compile("^(of the last|since the start)"))


@pytest.mark.parametrize(
    ("buckets", "part", "shown"),
    [
        ("[[0.001, 100], [0.01, 0], [null, 0]]", 0.5, "≈ 500 µs"),
        ("[[0.001, 50], [0.01, 50], [null, 0]]", 0.5, "≈ 1.00 ms"),
        ("[[0.001, 98], [0.01, 2], [null, 0]]", 0.99, "≈ 5.50 ms"),
        ("[[0.001, 0], [0.01, 1], [null, 99]]", 0.99, "> 10.0 ms"),
    ],
)
def test_quantile_is_taken_within_its_bucket(page: Page, buckets: str, part: float, shown: str) -> None:
    assert page.evaluate(f"quantile({buckets}, {part})") == shown


def test_durations_are_those_of_the_last_minutes_whatever_a_restart_takes_away(page: Page) -> None:
    look = "count => recent([['upstream', null, count]])[0][2]"
    # In one turn of the page, so that no look of its own comes between.
    assert page.evaluate(f"(looked.length = 0, [7, 9, 12, 3].map({look}))") == [0, 2, 5, 0]


def test_clients_are_listed_with_who_would_break_first(page: Page, one: Sidecar) -> None:
    expect(page.locator("#adoption thead")).to_contain_text("would be denied")
    first = page.locator("#adoption tbody tr").first
    cells = {
        name: first.locator(f"[data-name='{name}']") for name in ("client", "would be denied", "why", "rule")
    }
    expect(cells["client"]).to_have_text("client-1")
    expect(cells["would be denied"]).to_have_text(re.compile("[1-9]"))
    expect(cells["why"]).to_contain_text("scope_insufficient")
    expect(cells["rule"]).to_contain_text("payments")
    expect(page.locator("#adoption-note")).to_contain_text(re.compile("1 of [23] would be refused"))
    row = page.locator("#adoption tbody tr", has_text="CN=client-1")
    expect(row).to_contain_text("(no rule)")
    expect(row.locator("[data-name='last seen']")).to_have_text(
        re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$")
    )


def test_refused_configuration_is_shown_with_its_problems(page: Page, one: Sidecar) -> None:
    kept = generation(one)
    one.write_policy({"rules": 7})
    try:
        expect(page.locator("#configuration")).to_contain_text("was refused")
        expect(page.locator("#configuration .problems")).to_contain_text("policy.yaml:1")
        expect(page.locator("#refused")).to_be_visible()
        expect(page.locator("#refused")).to_contain_text(f"Generation {kept} stays in force")
        expect(page.locator("#refused")).to_contain_text("policy.yaml:1")
        status, told = get(f"{one.health_url}/readyz?verbose")
        (check,) = [found for found in json.loads(told)["checks"] if found["name"] == "configuration"]
        assert (status, check["ok"]) == (200, True)
        assert check["detail"].endswith(f"generation {kept} stays in force")
        assert "policy.yaml" not in check["detail"]
    finally:
        one.write_policy(REPORTING)
    expect(page.locator("#configuration")).to_contain_text("in force since")
    expect(page.locator("#refused")).to_be_hidden()
    assert '"configuration"' not in get(f"{one.health_url}/readyz?verbose")[1]


def test_head_tells_one_pod_from_another(page: Page, one: Sidecar) -> None:
    facts = page.locator("#facts")
    expect(facts).to_contain_text(socket.gethostname())
    expect(facts).to_contain_text(re.compile(rf"listeners\s*127.0.0.1:{one.port}\s*upstream"))  # once
    expect(facts).to_contain_text("http://127.0.0.1:")


def test_explain_form_names_the_probable_mistake(page: Page, pki: Pki, signing_key: SigningKey) -> None:
    page.locator("#token").fill(signing_key.token(pki.server))
    page.locator("#certificate").fill(pki.client.pem.decode())
    page.locator("#url").fill("/accounts/1")
    page.locator("#explain button[type=submit]").click()
    expect(page.locator("#answer .verdict")).to_contain_text("refused 401")
    expect(page.locator("#answer .mistake")).to_contain_text("CN=localhost")
    expect(page.locator("#answer .steps")).to_contain_text("RFC 8705 §3")
    page.locator("#certificate").fill("nonsense")
    page.locator("#explain button[type=submit]").click()
    expect(page.locator("#answer")).to_contain_text("no PEM certificate")


def test_hostile_path_is_shown_as_text(page: Page, one: Sidecar) -> None:
    with one.connect() as wire:
        wire.request("GET", "/public/<img/src=x/onerror=document.title=1>'\"&amp;")
    expect(page.locator("#decisions summary .request").first).to_contain_text(
        "<img/src=x/onerror=document.title=1>"
    )
    assert page.title() == "bound-token-sidecar"


@pytest.mark.parametrize(
    "window",
    [("light", 1280, "light"), ("dark", 1280, "dark"), ("narrow", 390, "light")],
    ids=["light", "dark", "narrow"],
)
def test_page_fits_its_window_and_can_be_read(
    browser: Browser, one: Sidecar, pki: Pki, signing_key: SigningKey, window: tuple[str, int, str]
) -> None:
    name, width, scheme = window
    requests(one, pki, signing_key)
    dark = scheme == "dark"
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    opened = context.new_page()
    opened.goto(one.admin_link)
    opened.locator("#decisions summary", has_text="binding_mismatch").first.click()
    expect(opened.locator("#certificates li").first).to_be_visible()
    opened.locator("#token").fill(signing_key.token(pki.client))
    opened.locator("#certificate").fill(pki.other_client.pem.decode())
    opened.locator("#url").fill("/accounts/1")
    opened.locator("#explain button[type=submit]").click()
    expect(
        opened.locator("#answer .mistake")
    ).to_be_visible()  # with thumbprints, which have no place to break
    assert opened.evaluate("document.documentElement.scrollWidth") == width
    lightness = opened.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(lightness) < 60) is dark
    SHOTS.mkdir(parents=True, exist_ok=True)
    opened.screenshot(path=SHOTS / f"admin-{name}.png", full_page=True)
    context.close()
    assert (SHOTS / f"admin-{name}.png").stat().st_mtime > time.time() - 60
