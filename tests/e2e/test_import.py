"""A file of readings through a real browser: uploaded, looked at, checked, imported."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.conftest import CHROMIUM
from tests.e2e.test_story import assert_nothing_sticks_out, log_in
from tests.platform import Platform, running

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.platform,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed (apt-get install chromium)"),
]
SITE = "from sensors.models import *; site = Site.objects.create(name='Mill', timezone='Europe/Berlin')"


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with running() as platform:
        platform.manage("shell", "--no-imports", "-c", SITE + "; Asset.objects.create(site=site, name='Fan')")
        yield platform


@pytest.mark.parametrize("size", [(390, 844), (1440, 900)], ids=["phone", "desktop"])
def test_a_file_is_uploaded_checked_and_imported(
    browser: Browser, platform: Platform, tmp_path: Path, size: tuple[int, int]
) -> None:
    name = f"fan-{size[0]}"
    rows = [f"{n // 60 % 24:02}:{n % 60:02}:00;{n % 7 + 0.5}".replace(".", ",") for n in range(1440)]
    lines = [f"01.02.2026 {row};{'warm' if n == 7 else 3}" for n, row in enumerate(rows)]
    (tmp_path / f"{name}.csv").write_text(f"Zeit;{name}.temp [°C];{name}.speed [rpm]\n" + "\n".join(lines))
    context = browser.new_context(base_url=platform.url, viewport={"width": size[0], "height": size[1]})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("response", lambda a: problems.append(f"{a.status} {a.url}") if a.status >= 400 else None)
    log_in(page, platform)
    page.goto("/assets/")
    page.get_by_role("link", name="Import readings").click()
    page.get_by_label("File", exact=True).set_input_files(tmp_path / f"{name}.csv")
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url("**/imports/*/")
    assert_nothing_sticks_out(page)
    page.get_by_label("New sensors belong to").select_option("Fan")
    page.get_by_role("button", name="Check the whole file").click()
    expect(page.get_by_role("heading", name="What the file would bring in")).to_be_visible(timeout=20_000)
    expect(page.get_by_text("new: temperature")).to_be_visible()
    page.get_by_text("would be refused in the check").click()
    expect(page.get_by_text(re.compile("Line 9.*warm"))).to_be_visible()
    assert_nothing_sticks_out(page)
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_role("heading", name="Imported", exact=True)).to_be_visible(timeout=30_000)
    expect(page.get_by_text("2,879")).to_be_visible()
    page.get_by_role("link", name=f"{name}.temp").click()
    expect(page.get_by_role("heading", name=re.compile(f"{name}.temp"))).to_be_visible()
    assert problems == []
    context.close()
