"""From an alert to a verdict on a phone, with a network that is cut between a tap and its answer."""

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.e2e.conftest import CHROMIUM
from tests.platform import Platform, running

PHONE = {"width": 390, "height": 844}
PASSWORD = "a long pass phrase"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.platform,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed (apt-get install chromium)"),
]

# A site with a pump, a technician, and an event that raised an alert, for each of the tests.
SEED = """
import json
from datetime import timedelta
from django.contrib.auth.models import Group, User
from django.utils import timezone
from alerts import lifecycle
from mlops.models import Anomaly
from sensors.models import Asset, Sensor, Site
site = Site.objects.create(name="North", timezone="Europe/Berlin")
person = User.objects.create_user("tom", "tom@example.com", "a long pass phrase")
person.groups.set(Group.objects.filter(name__in=["technician", "engineer"]))
site.members.add(person)
now = timezone.now()
made = {}
for name in ("Steady", "Shaky"):
    pump = Asset.objects.create(site=site, name=f"{name} pump")
    sensor = Sensor.objects.create(asset=pump, sensor_id=f"north.{name.lower()}", kind="temperature", unit="°C")
    alert = lifecycle.raise_alert(
        dedup_key=name, title=f"{name} pump is hot", severity=3, asset=pump, sensor=sensor, evidence={},
        began_at=now - timedelta(minutes=9), last_seen_at=now - timedelta(minutes=5),
    )
    Anomaly.objects.create(
        sensor=sensor, alert=alert, start=now - timedelta(minutes=9), end=now - timedelta(minutes=5),
        peak_at=now - timedelta(minutes=7), peak_value=99, peak_score=9, decision="credible_anomaly",
        confidence=1, evidence={"layers": [{"name": "duration", "passed": True, "detail": ""}]},
    )
    made[name] = alert.pk
print(json.dumps(made))
"""

STATE = """
import json
from alerts.models import Alert, Silence
from django.utils import timezone
from maintenance.models import Verdict, WorkOrderStep
alert = Alert.objects.get(pk=%d)
print(json.dumps({
    "silenced": Silence.objects.running(timezone.now()).filter(asset=alert.asset).exists(),
    "resolved": alert.is_resolved,
    "closes": WorkOrderStep.objects.filter(order__alert=alert, to_state="closed").count(),
    "verdicts": list(Verdict.objects.filter(alert=alert).values_list("outcome", flat=True)),
}))
"""
BEFORE = {"silenced": True, "resolved": False, "closes": 0, "verdicts": []}
AFTER = {"silenced": False, "resolved": True, "closes": 1, "verdicts": ["fault_found"]}


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with running() as platform:
        yield platform


@pytest.fixture(scope="module")
def alerts(platform: Platform) -> dict[str, int]:
    return _told(platform, SEED)


def _told(platform: Platform, program: str) -> dict[str, int]:
    found: dict[str, int] = json.loads(platform.manage("shell", "-c", program).strip().splitlines()[-1])
    return found


@pytest.fixture
def phone(browser: Browser, platform: Platform) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=platform.url, viewport=PHONE)
    page = context.new_page()
    page.goto("/")
    page.get_by_label(re.compile("username|login", re.IGNORECASE)).fill("tom")
    page.get_by_label("Password", exact=False).fill(PASSWORD)
    page.get_by_role("button", name=re.compile("log in|sign in", re.IGNORECASE)).click()
    expect(page).to_have_title(re.compile("Overview"))
    yield context
    context.close()


def started(page: Page, alert: int) -> str:
    """From the alert to work in progress; the address of the order."""
    page.goto(f"/alerts/{alert}/")
    page.get_by_role("button", name="Propose work order").click()
    expect(page.locator("[data-state=proposed]").first).to_be_visible()
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("[data-state=approved]").first).to_be_visible()
    page.get_by_role("button", name="Start work").click()
    expect(page.locator("[data-state=in_progress]").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    return page.url


def two_taps(page: Page) -> None:
    page.locator(".tile", has_text="Fault found").click()
    page.get_by_role("button", name="Close work order").click()


def judged_events(page: Page) -> str:
    page.goto("/models/validation/")
    return page.locator("section[aria-labelledby=layers-title] .facts").inner_text()


def test_from_the_alert_to_the_verdict(phone: BrowserContext, platform: Platform, alerts: dict[str, int]) -> None:
    page, alert = phone.pages[0], alerts["Steady"]
    assert judged_events(page) == "0 judged events"
    started(page, alert)
    assert _told(platform, STATE % alert) == BEFORE
    two_taps(page)
    expect(page.locator("[data-state=closed]").first).to_be_visible()
    expect(page.get_by_text(re.compile("Fault found.*tom"))).to_be_visible()
    assert _told(platform, STATE % alert) == AFTER
    assert judged_events(page) == "1 judged event"
    expect(page.locator("td[data-label=Precision]").first).to_have_text(re.compile("100"))
    page.goto(f"/alerts/{alert}/")
    expect(page.locator("[data-state=resolved]").first).to_be_visible()


def test_a_network_that_is_cut_between_tap_and_answer(
    phone: BrowserContext, platform: Platform, alerts: dict[str, int]
) -> None:
    page, alert = phone.pages[0], alerts["Shaky"]
    url = started(page, alert)

    def swallow_the_answer(route: Route) -> None:
        route.fetch(max_redirects=0)
        phone.set_offline(True)
        route.abort("connectionreset")

    page.route("**/close/", swallow_the_answer, times=1)
    two_taps(page)
    expect(page.locator("#kept")).to_contain_text("Not sent yet: Close WO-")
    assert _told(platform, STATE % alert) == AFTER
    phone.set_offline(False)
    expect(page.locator("[data-state=closed]").first).to_be_visible(timeout=20_000)
    expect(page.locator("#kept")).to_have_count(0)
    assert page.url == url
    assert _told(platform, STATE % alert) == AFTER


def test_my_work_is_readable_without_a_network_and_gone_after_the_log_out(
    phone: BrowserContext, platform: Platform, alerts: dict[str, int]
) -> None:
    page = phone.pages[0]
    platform.manage("shell", "-c", _A_JOB)
    page.goto("/work-orders/mine/")
    page.wait_for_function("navigator.serviceWorker.controller !== null")
    page.reload()
    expect(page.get_by_role("link", name=re.compile("Grease the gate"))).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    phone.set_offline(True)
    page.goto("/work-orders/mine/")
    expect(page.get_by_role("link", name=re.compile("Grease the gate"))).to_be_visible()
    page.get_by_role("button", name="Start", exact=True).first.click()
    expect(page.locator("#kept")).to_contain_text("Not sent yet: Start WO-")
    phone.set_offline(False)
    expect(page.locator("[data-state=in_progress]").first).to_be_visible(timeout=20_000)
    page.locator("details.menu summary").click()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/accounts/login/**")
    assert page.evaluate("caches.keys()") == []


_A_JOB = """
from maintenance import work_orders
from sensors.models import Asset
work_orders.propose(Asset.objects.get(name="Steady pump"), None, title="Grease the gate", approved=True)
"""
