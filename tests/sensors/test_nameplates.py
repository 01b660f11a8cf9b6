from datetime import date
from io import BytesIO
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from sensors import labels
from sensors.files import MAX_FILE_BYTES, kept_as
from sensors.models import Asset, AssetClass, AssetDocument
from sensors.nameplates import warranty
from tests.alerts.test_views import text
from tests.conftest import Plant

TODAY = date(2026, 3, 1)


@pytest.fixture
def engineer(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["engineer"])
    return client


@pytest.mark.parametrize(
    ("until", "said"),
    [
        (None, ""),
        (date(2026, 3, 21), "warranty ends in 20 days"),
        (date(2026, 3, 2), "warranty ends in 1 day"),
        (TODAY, "warranty ends today"),
        (date(2026, 2, 28), "warranty ended on 28 Feb 2026"),
        (date(2028, 1, 5), "warranty until 5 Jan 2028"),
    ],
)
def test_a_warranty_is_told_in_days_when_it_ends_soon(until: date | None, said: str) -> None:
    assert warranty(until, TODAY) == said


def nameplate(**fields: Any) -> dict[str, Any]:
    return {"criticality": 3, "manufacturer": "Grundfos", "model": "NK 80-200", "power_kw": "18,5"} | fields


def test_an_engineer_fills_in_the_nameplate_and_everybody_reads_it(
    engineer: Client, people: dict[str, User], north: Plant
) -> None:
    pumps = AssetClass.objects.create(name="Slurry pump")
    sent = nameplate(asset_class=pumps.pk, serial_number="A-4711", commissioned_on="2019-05-02")
    assert engineer.post(reverse("sensors:nameplate", args=[north.pump.pk]), sent).status_code == 302
    engineer.force_login(people["viewer"])
    page = text(engineer, north.pump.get_absolute_url())
    for said in ("Slurry pump", "Grundfos", "NK 80-200", "A-4711", "18.5 kW", "2 May 2019"):
        assert said in page


def test_a_warranty_that_ends_before_service_began_is_refused(engineer: Client, north: Plant) -> None:
    sent = nameplate(commissioned_on="2019-05-02", warranty_until="2018-05-02")
    answer = engineer.post(reverse("sensors:nameplate", args=[north.pump.pk]), sent)
    assert answer.status_code == 400
    assert "The warranty ends before the asset was in service." in answer.content.decode()


def test_the_api_has_the_nameplate(engineer: Client, north: Plant) -> None:
    sent = {"manufacturer": "KSB", "warranty_until": "2030-01-01"}
    url = f"/api/v1/assets/{north.pump.pk}/"
    assert engineer.patch(url, sent, content_type="application/json").status_code == 200
    assert engineer.get(url).json().items() >= sent.items()


def add(
    client: Client, plant: Plant, content: bytes = b"%PDF-1.7", name: str = "Manual <1>.pdf"
) -> AssetDocument | None:
    file = SimpleUploadedFile(name, content)
    client.post(reverse("sensors:add-document", args=[plant.pump.pk]), {"file": file})
    return AssetDocument.objects.first()


def test_a_document_comes_back_as_an_attachment_that_no_browser_runs(
    engineer: Client, people: dict[str, User], north: Plant
) -> None:
    document = add(engineer, north, b"<script>alert(1)</script>", "page.html")
    assert document is not None
    engineer.force_login(people["viewer"])
    assert "page.html" in text(engineer, north.pump.get_absolute_url())
    answer = engineer.get(reverse("sensors:document", args=[document.pk]))
    assert answer.content == b"<script>alert(1)</script>"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="page.html"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Type"] == "application/octet-stream"


def test_a_document_that_was_taken_away_is_not_handed_out(engineer: Client, north: Plant) -> None:
    document = add(engineer, north)
    assert document is not None
    assert engineer.post(reverse("sensors:remove-document", args=[document.pk])).status_code == 302
    assert engineer.get(reverse("sensors:document", args=[document.pk])).status_code == 404
    assert document.name not in text(engineer, north.pump.get_absolute_url())


@pytest.mark.parametrize("size", [0, MAX_FILE_BYTES + 1])
def test_an_empty_or_a_huge_file_is_refused(engineer: Client, north: Plant, size: int) -> None:
    assert add(engineer, north, b"x" * size) is None


def test_documents_of_another_site_do_not_exist(engineer: Client, people: dict[str, User], south: Plant) -> None:
    found = AssetDocument.objects.create(
        asset=south.pump, name="Secret.pdf", file="x", size_bytes=1, added_by=people["admin"]
    )
    assert engineer.get(reverse("sensors:document", args=[found.pk])).status_code == 404
    assert add(engineer, south) == found


@pytest.mark.parametrize(
    ("name", "ending"),
    [("a.PDF", ".pdf"), ("../../etc/passwd", ""), ("a.b/c", ""), ("x.<svg>", ""), ("y." + "z" * 50, "")],
)
def test_files_are_kept_under_a_name_of_ours(name: str, ending: str) -> None:
    kept = kept_as("assets", name)
    assert len(kept) == len("assets/") + 32 + len(ending)
    assert kept.endswith(ending)


def test_a_label_says_the_address_that_phones_reach(north: Plant, settings: LazySettings) -> None:
    settings.PUBLIC_URL = "https://plant.example/"
    assert labels.address(north.pump) == f"https://plant.example/assets/{north.pump.pk}/"
    assert labels.png(north.pump).startswith(b"\x89PNG")
    assert b"<svg" in labels.svg(north.pump)


def test_labels_come_for_one_asset_and_for_a_site(engineer: Client, north: Plant, south: Plant) -> None:
    Asset.objects.create(site=north.site, name="Fan F-1")
    one = text(engineer, reverse("sensors:label", args=[north.pump.pk]))
    assert "<svg" in one
    assert "Fan F-1" not in one
    all_of_them = text(engineer, reverse("sensors:labels", args=[north.site.pk]))
    assert all_of_them.count('class="segno"') == 2
    assert engineer.get(reverse("sensors:labels", args=[south.site.pk])).status_code == 404
    picture = engineer.get(reverse("sensors:label-png", args=[north.pump.pk]))
    assert BytesIO(picture.content).read(4) == b"\x89PNG"
