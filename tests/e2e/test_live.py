"""Open pages in a real browser: new critical alerts come to them, and they are right again after sleep."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, WebSocketRoute, expect

from tests.e2e.conftest import CHROMIUM
from tests.e2e.test_story import assert_nothing_sticks_out, log_in
from tests.platform import Platform, running

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.platform,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed (apt-get install chromium)"),
]

PLANT = """
from sensors.models import Asset, Site
Asset.objects.create(site=Site.objects.create(name="Works", timezone="Europe/Berlin"), name="Pump P-101")
"""
RAISE = """
from django.utils import timezone
from alerts import lifecycle
from alerts.models import Severity
from sensors.models import Asset
lifecycle.raise_alert(dedup_key="{title}", title="{title}", severity=Severity.CRITICAL, evidence={{}},
                      began_at=timezone.now(), last_seen_at=timezone.now(), asset=Asset.objects.get(name="Pump P-101"))
"""
TAKE_ON = """
from alerts import lifecycle
from alerts.models import Alert
for alert in Alert.objects.unresolved():
    lifecycle.{step}(alert)
"""


@pytest.fixture(scope="module")
def works() -> Iterator[Platform]:
    with running(MLFLOW_TRACKING_URI="none") as platform:
        platform.manage("shell", "-c", PLANT)
        yield platform


@pytest.fixture(params=[(390, 844), (1440, 900)], ids=["phone", "desktop"])
def context(request: pytest.FixtureRequest, browser: Browser, works: Platform) -> Iterator[BrowserContext]:
    width, height = request.param
    context = browser.new_context(base_url=works.url, viewport={"width": width, "height": height})
    yield context
    context.close()
    works.manage("shell", "-c", TAKE_ON.format(step="resolve"))


@pytest.fixture
def page(context: BrowserContext, works: Platform) -> Page:
    page = context.new_page()
    log_in(page, works)
    return page


def raise_critical(works: Platform, title: str) -> None:
    works.manage("shell", "-c", RAISE.format(title=title))


def opened(page: Page, path: str) -> None:
    """The page is there, listens, and has been told what time it is."""
    page.goto(path)
    expect(page.locator("#live")).to_have_text("Live")
    page.wait_for_function("sessionStorage.getItem('critical-since')")


def test_a_critical_alert_comes_to_every_page_and_moves_nothing(page: Page, works: Platform) -> None:
    opened(page, "/assets/")
    title, place = page.title(), page.locator("h1").bounding_box()
    raise_critical(works, "Bearing too hot")
    toast = page.locator(".toast", has_text="Bearing too hot")
    expect(toast).to_be_visible(timeout=2000)
    expect(page).to_have_title(f"(1) {title}")
    expect(page.locator("#critical-news")).to_have_text(re.compile("Critical alert: Bearing too hot"))
    assert page.locator("h1").bounding_box() == place
    assert_nothing_sticks_out(page)
    toast.get_by_role("button", name="Dismiss").click()
    expect(toast).to_have_count(0)
    opened(page, "/alerts/")
    expect(page).to_have_title(f"(1) Alerts · {title.split(' · ')[1]}")
    expect(page.locator(".toast")).to_have_count(0)


def test_it_goes_when_somebody_else_takes_the_alert_on(page: Page, works: Platform) -> None:
    opened(page, "/assets/")
    title = page.title()
    raise_critical(works, "Motor stalls")
    expect(page.locator(".toast")).to_have_count(1)
    works.manage("shell", "-c", TAKE_ON.format(step="acknowledge"))
    expect(page.locator(".toast")).to_have_count(0)
    expect(page).to_have_title(title)


def test_the_sound_is_off_until_it_is_switched_on(page: Page) -> None:
    opened(page, "/assets/")
    page.locator(".menu summary").click()
    button = page.locator("#sound")
    expect(button).to_have_text("Sound for critical alerts: off")
    button.click()
    page.reload()
    expect(page.locator("#sound")).to_have_attribute("aria-pressed", "true")


def test_a_page_that_slept_for_an_hour_is_right_within_a_second(context: BrowserContext, works: Platform) -> None:
    asleep = False

    def connection(socket: WebSocketRoute) -> None:
        """A socket that nothing comes through any more once the machine sleeps, and that nobody closes."""
        mine = {"sleeps": False}
        server = socket.connect_to_server()

        def passed_on(message: str | bytes) -> None:
            mine["sleeps"] = mine["sleeps"] or asleep
            if not mine["sleeps"]:
                socket.send(message)

        server.on_message(passed_on)

    page = context.new_page()
    page.route_web_socket(re.compile("/ws/live/"), connection)
    page.clock.install()
    log_in(page, works)
    opened(page, "/alerts/")
    asleep = True
    raise_critical(works, "While you slept")
    page.wait_for_timeout(1500)
    expect(page.locator("#inbox")).not_to_contain_text("While you slept")
    asleep = False
    page.clock.fast_forward("01:00:00")
    expect(page.locator("#inbox")).to_contain_text("While you slept", timeout=1000)
    expect(page.locator(".toast")).to_have_count(1, timeout=1000)
    raise_critical(works, "And after that")
    expect(page.locator("#inbox")).to_contain_text("And after that", timeout=2000)
