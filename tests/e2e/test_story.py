"""The main job in a real browser: the demo plant's pump wears out, an alert comes, work is done, the pump recovers."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import CHROMIUM
from tests.platform import Platform, running

# What the issue of a first visit allows from /health 200 to the alert.
MILLISECONDS_TO_ALERT = 5 * 60 * 1000

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.platform,
    pytest.mark.timeout(420),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed (apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def demo() -> Iterator[Platform]:
    with running(DEMO="1") as platform:
        yield platform


@pytest.fixture(params=[(390, 844), (1440, 900)], ids=["phone", "desktop"])
def page(request: pytest.FixtureRequest, browser: Browser, demo: Platform) -> Iterator[Page]:
    width, height = request.param
    context = browser.new_context(base_url=demo.url, viewport={"width": width, "height": height})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "response", lambda answer: problems.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
    )
    log_in(page, demo)
    yield page
    assert problems == []
    context.close()


def log_in(page: Page, demo: Platform) -> None:
    """With the password that `up` printed once."""
    password = re.search(r"password\s+(\S+)", demo.log.read_text())
    assert password
    page.goto("/")
    page.get_by_label(re.compile("username|login", re.IGNORECASE)).fill("admin")
    page.get_by_label("Password", exact=False).fill(password[1])
    page.get_by_role("button", name=re.compile("log in|sign in", re.IGNORECASE)).click()
    expect(page).to_have_title(re.compile("Overview"))


def assert_nothing_sticks_out(page: Page) -> None:
    """No page scrolls sideways."""
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("path", ["/", "/assets/", "/alerts/", "/work-orders/", "/admin/", "/api/docs/"])
def test_every_main_page_opens_and_fits_the_screen(page: Page, path: str) -> None:
    page.goto(path)
    page.wait_for_load_state("networkidle")
    if path != "/admin/":
        assert_nothing_sticks_out(page)


def test_an_asset_page_draws_a_chart_per_sensor(page: Page) -> None:
    page.goto("/assets/")
    page.get_by_role("link", name="Conveyor motor M-201").first.click()
    # A chart is drawn when it comes into view.
    charts = page.locator(".chart")
    expect(charts).to_have_count(5)
    for number in range(5):
        charts.nth(number).scroll_into_view_if_needed()
        expect(charts.nth(number)).to_have_class(re.compile("js-plotly-plot"), timeout=20_000)
    assert_nothing_sticks_out(page)


def test_an_alert_comes_is_acknowledged_worked_on_and_closed_with_a_verdict(browser: Browser, demo: Platform) -> None:
    context = browser.new_context(base_url=demo.url, viewport={"width": 390, "height": 844})
    page = context.new_page()
    log_in(page, demo)
    alert = page.locator("#open-alerts").get_by_role("link", name=re.compile("Pump P-101 above normal")).first
    # The page is not reloaded: the alert must come to it.
    expect(alert).to_be_visible(timeout=MILLISECONDS_TO_ALERT)
    alert.click()
    expect(page.get_by_text("Why this alert")).to_be_visible()
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("[data-state=acknowledged]").first).to_be_visible()
    page.get_by_role("button", name="Propose work order").click()
    page.wait_for_url("**/work-orders/*/")
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("button", name="Start work").click()
    expect(page.locator("[data-state=in_progress]").first).to_be_visible()
    page.get_by_role("radio", name=re.compile("Fault found")).check()
    page.get_by_role("button", name="Close work order").click()
    expect(page.locator("[data-state=closed]").first).to_be_visible()
    expect(page.get_by_text(re.compile("Fault found.*admin"))).to_be_visible()
    page.get_by_role("link", name="See the alert").click()
    expect(page.locator("[data-state=resolved]").first).to_be_visible()
    context.close()
