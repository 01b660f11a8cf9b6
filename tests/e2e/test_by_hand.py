"""What people do with readings, in a real browser: connect a sensor, place another, enter, note a stretch, settle."""

import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

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
from sensors.models import Asset, Sensor, Site
site = Site.objects.create(name="Works", timezone="Europe/Berlin")
pump = Asset.objects.create(site=site, name="Pump P-101")
Sensor.objects.create(asset=pump, sensor_id="works.p101.temperature", kind="temperature", unit="°C")
"""


@pytest.fixture(scope="module")
def works() -> Iterator[Platform]:
    with running(DEMO="0") as platform:
        platform.manage("shell", "-c", PLANT)
        yield platform


@pytest.fixture(scope="module")
def api_key(works: Platform) -> str:
    printed = works.manage(
        "create_api_key", "--user", "line-1", "--create", "--site", "Works", "--scopes", "ingest,read"
    )
    found = re.search(r"sm_[\w-]{43}", printed)
    assert found
    return found.group()


@pytest.fixture
def page(browser: Browser, works: Platform) -> Iterator[Page]:
    context = browser.new_context(base_url=works.url, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("response", lambda answer: problems.append(answer.url) if answer.status >= 400 else None)
    log_in(page, works)
    yield page
    assert problems == []
    context.close()


def send(works: Platform, api_key: str, *rows: dict[str, object]) -> None:
    httpx.post(f"{works.url}/api/v1/readings/", headers={"X-API-Key": api_key}, json=list(rows)).raise_for_status()


def open_asset(page: Page) -> None:
    page.goto("/assets/")
    page.get_by_role("link", name="Pump P-101").click()


def test_the_box_turns_green_when_the_snippet_on_the_page_is_run(page: Page, works: Platform, api_key: str) -> None:
    open_asset(page)
    page.get_by_role("link", name="Connect").click()
    expect(page.get_by_text("Waiting for the first reading")).to_be_visible()
    expect(page.get_by_role("button", name="Copy").first).to_be_visible()
    snippet = page.get_by_label("curl", exact=True).inner_text()
    # The page is not loaded again: the answer must come to it.
    done = subprocess.run(["bash", "-c", snippet], env={"SM_KEY": api_key, "PATH": "/usr/bin:/bin"}, timeout=30)
    assert done.returncode == 0
    expect(page.locator(".message.success").get_by_text("Readings arrive")).to_be_visible(timeout=20_000)
    expect(page.get_by_text("42.00 °C")).to_be_visible()


def test_a_stretch_chosen_in_a_chart_becomes_a_note_in_it(page: Page, works: Platform, api_key: str) -> None:
    now = datetime.now(UTC)
    rows = [
        {"sensor_id": "works.p101.temperature", "timestamp": (now - timedelta(minutes=i)).isoformat(), "value": 60 + i}
        for i in range(1, 50)
    ]
    send(works, api_key, *rows)
    open_asset(page)
    page.get_by_role("link", name="1 h").click()
    chart = page.locator(".chart")
    expect(chart).to_have_class(re.compile("js-plotly-plot"), timeout=20_000)
    page.get_by_role("button", name="Mark a stretch").click()
    box = chart.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.6, steps=8)
    page.mouse.up()
    page.get_by_role("link", name="Note it").click()
    start, end = (datetime.fromisoformat(page.get_by_label(name, exact=True).input_value()) for name in ("From", "To"))
    # A fifth of an hour, as far as the axis leaves it.
    assert timedelta(minutes=8) < end - start < timedelta(minutes=16)
    page.get_by_role("radio", name=re.compile("Past failure")).check()
    page.get_by_label("What happened").fill("Seal <b>broke</b>")
    page.get_by_role("button", name="Note it").click()
    expect(page.locator("#annotations .prose").get_by_text("Seal <b>broke</b>")).to_be_visible()
    # Its words are in the chart where there is room for them.
    page.get_by_role("link", name="1 h").click()
    chart.scroll_into_view_if_needed()
    expect(chart.locator("text").get_by_text("Seal <b>broke</b>")).to_be_visible(timeout=20_000)
    page.get_by_role("button", name=re.compile("Take back")).click()
    expect(page.get_by_text("Taken back.")).to_be_visible()
    expect(page.locator("#annotations").get_by_text("Seal")).to_have_count(0)


def test_discovered_sensors_are_placed_as_suggested(page: Page, works: Platform, api_key: str) -> None:
    send(
        works,
        api_key,
        {"sensor_id": "works.p101.flow", "timestamp": "2026-01-01T00:00:00Z", "value": 3, "unit": "l/min"},
    )
    page.goto("/")
    page.get_by_role("link", name="Place it").click()
    page.get_by_role("button", name="Place on Pump P-101").click()
    expect(page.get_by_text("1 placed.")).to_be_visible()
    open_asset(page)
    expect(page.get_by_role("heading", name=re.compile("works.p101.flow"))).to_be_visible()


@pytest.mark.parametrize("width", [390, 1440])
def test_the_pages_fit_the_screen(page: Page, works: Platform, api_key: str, width: int) -> None:
    key = f"works.a.very.long.key.of.a.sensor.that.somebody.thought.of.in.a.long.night.{width}"
    send(works, api_key, {"sensor_id": key, "timestamp": "2026-01-01T00:00:00Z", "value": 3})
    bad = {"sensor_id": "works.p101.temperature", "timestamp": "2026-01-01T00:00:00Z", "value": width, "unit": "bar"}
    httpx.post(f"{works.url}/api/v1/readings/", headers={"X-API-Key": api_key}, json=[bad])
    page.set_viewport_size({"width": width, "height": 844})
    paths = ["/quarantine/", "/quarantine/rows/?site=1&code=unit_mismatch", "/quarantine/1/", "/sensors/discovered/"]
    for path in [
        *paths,
        "/assets/1/",
        "/assets/1/enter/",
        "/assets/1/annotate/",
        "/sensors/1/connect/",
        "/sensors/1/readings/",
    ]:
        page.goto(path)
        page.wait_for_load_state("networkidle")
        assert_nothing_sticks_out(page)
