"""Models in a real browser, with the MLflow that `make up` starts: what serves what, and MLflow's own pages."""

import re
from collections.abc import Iterator

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

# Two versions for one sensor; the second one's file is lost, so that the first serves in its place.
MODELS = """
from datetime import UTC, datetime
from pathlib import Path
import numpy as np
from django.conf import settings
from mlops import deployments
from mlops.deployments import Scope
from mlops.detectors import robust
from mlops.models import Purpose
from mlops.registry import figures, loading, versions
from mlops.registry.artifact import ModelArtifact
from mlops.subjects import name_of
from sensors.models import Asset, Sensor, Site
site = Site.objects.create(name="Works", timezone="Europe/Berlin")
pump = Asset.objects.create(site=site, name="Pump P-101")
sensors = [Sensor.objects.create(asset=pump, sensor_id=f"works.p101.{name}", kind=kind, unit=unit)
           for name, kind, unit in (("temperature", "temperature", "°C"), ("vibration", "vibration", "mm/s"))]
artifact = ModelArtifact(
    model=robust.learn(np.arange(100, dtype=np.int64) * 60_000_000, np.sin(np.arange(100.0))), features=("value",),
    threshold=4.0, data_fingerprint="-", trained_from=datetime(2026, 1, 1, tzinfo=UTC),
    trained_to=datetime(2026, 2, 1, tzinfo=UTC), metrics={"false_alarms_per_day": 0.1})
made = [versions.log_model(artifact, name="works pump", purpose=Purpose.SENSOR_ANOMALY, site=site,
                           example=np.array([[1.0]])) for _ in range(2)]
for version in made:
    in_service = deployments.deploy(version, Scope(sensor=sensors[0]), why="lowest error in validation")
    if version == made[1]:
        (Path(settings.MLFLOW_ARTIFACT_ROOT) / version.path).unlink()
    loading.load(in_service)
for _ in range(2):
    versions.log_model(artifact, name=name_of(sensors[1], Purpose.SENSOR_ANOMALY), purpose=Purpose.SENSOR_ANOMALY,
                       site=site, example=np.array([[1.0]]))
whole = deployments.deploy(made[0], Scope(kind="vibration", site=site), why="lowest error in validation")
loading.load(whole)
figures.pass_on()
"""


@pytest.fixture(scope="module")
def works() -> Iterator[Platform]:
    with running(DEMO="0", MLFLOW_TRACKING_URI="") as platform:
        platform.manage("shell", "-c", MODELS)
        yield platform


@pytest.fixture(params=[(390, 844), (1440, 900)], ids=["phone", "desktop"])
def page(request: pytest.FixtureRequest, browser: Browser, works: Platform) -> Iterator[Page]:
    width, height = request.param
    context = browser.new_context(base_url=works.url, viewport={"width": width, "height": height})
    page = context.new_page()
    log_in(page, works)
    yield page
    context.close()


def test_the_page_fits_and_says_what_serves_what_and_in_whose_place(page: Page, works: Platform) -> None:
    page.goto("/models/")
    expect(page.get_by_role("row", name=re.compile("every vibration sensor"))).to_contain_text("In service")
    lost = page.get_by_role("row", name=re.compile("works.p101.temperature"))
    expect(lost).to_contain_text("works pump v2")
    expect(lost).to_contain_text("works pump v1 serves instead")
    assert_nothing_sticks_out(page)
    assert works.health().json()["checks"]["models"] == {"state": "degraded", "not_loaded": 1}


def test_a_versions_page_fits_and_says_what_it_served(page: Page) -> None:
    page.goto("/models/")
    page.get_by_role("region", name="Versions").get_by_role("link", name="works pump v1").click()
    expect(page.get_by_role("heading", name="works pump v1")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("every vibration sensor"))).to_contain_text("In service")
    assert_nothing_sticks_out(page)


def test_a_challenger_is_let_serve_by_a_button_on_its_page(page: Page) -> None:
    challengers = page.get_by_role("region", name="Versions").get_by_role("link", name=re.compile(r"sensor-\d+ v"))
    page.goto("/models/")
    challengers.nth(0 if page.viewport_size == {"width": 390, "height": 844} else 1).click()
    page.get_by_text("Let it serve works.p101.vibration").click()
    assert_nothing_sticks_out(page)
    page.get_by_label("Why").fill("It saw the last fault.")
    page.get_by_role("button", name="Deploy").click()
    expect(page.get_by_text("serves now what it learned from")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("works.p101.vibration"))).to_contain_text("In service")


def test_an_admin_finds_the_model_in_mlflows_own_pages(page: Page) -> None:
    page.goto("/models/")
    page.get_by_role("link", name="Open MLflow").click()
    page.goto("/models/mlflow/#/models/works%20pump")
    expect(page.get_by_text("works pump").first).to_be_visible(timeout=30_000)
    expect(page.get_by_text("Version 2").first).to_be_visible()
