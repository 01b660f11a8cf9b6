from io import BytesIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from PIL import Image

from maintenance import attachments, work_orders
from maintenance.models import Attachment, WorkOrder
from sensors.errors import Refused
from tests.conftest import Plant

ORIENTATION, GPS = 0x0112, 0x8825


@pytest.fixture
def technician(people: dict[str, User]) -> User:
    return people["technician"]


@pytest.fixture
def order(north: Plant, technician: User) -> WorkOrder:
    tasks = [{"text": "The seal", "kind": "photo"}]
    return work_orders.propose(north.pump, technician, title="Inspect it", checklist=tasks, approved=True)


def picture(kind: str = "JPEG", width: int = 40, height: int = 20) -> bytes:
    written = BytesIO()
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[GPS] = {1: "N", 2: (52.0, 30.0, 0.0)}
    Image.new("RGB", (width, height), "red").save(written, kind, exif=exif)
    return written.getvalue()


def sent(name: str, content: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content, "image/svg+xml")


def test_a_photo_is_turned_upright_and_loses_where_it_was_taken(order: WorkOrder, technician: User) -> None:
    kept = attachments.attach(order, technician, sent("IMG 1.jpg", picture()))
    with Image.open(kept.file) as image:
        assert (image.size, dict(image.getexif())) == ((20, 40), {})
    assert (kept.name, kept.content_type, kept.is_image) == ("IMG 1.jpg", "image/jpeg", True)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_large_photos_are_made_smaller(order: WorkOrder, technician: User, kind: str) -> None:
    kept = attachments.attach(order, technician, sent("wide", picture(kind, 4000, 200)))
    with Image.open(kept.file) as image:
        assert (max(image.size), image.format) == (attachments.MAX_SIDE, kind)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("page.html", b"<script>alert(1)</script>"),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"),
        ("photo.jpg", b"\xff\xd8\xff\xe0 and then nothing of a picture"),
        ("report.pdf", b"%PDF-1.4"),
        ("empty.txt", b""),
    ],
)
def test_what_is_no_photo_can_only_be_saved(
    client: Client, order: WorkOrder, technician: User, name: str, content: bytes
) -> None:
    kept = attachments.attach(order, technician, sent(name, content))
    client.force_login(technician)
    answer = client.get(kept.get_absolute_url())
    assert b"".join(answer.streaming_content) == content  # type: ignore[attr-defined]
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\temp\\a.txt", "/root/.ssh/id"])
def test_a_name_never_becomes_a_path(order: WorkOrder, technician: User, name: str) -> None:
    kept = attachments.attach(order, technician, ContentFile(b"x", name=name))
    assert Path(kept.file.path).parent == Path(default_storage.path("work-orders")) / str(order.pk)
    assert "/" not in kept.name
    assert "\\" not in kept.name


def test_too_large_and_too_many_are_refused(
    order: WorkOrder, technician: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "MAX_COUNT", 1)
    attachments.attach(order, technician, sent("a.txt", b"x"))
    with pytest.raises(Refused) as refusal:
        attachments.attach(order, technician, sent("b.txt", b"x"))
    assert refusal.value.code == "too_many_files"
    with pytest.raises(Refused) as refusal:
        attachments.attach(order, technician, sent("c.txt", b"x" * (attachments.MAX_FILE_BYTES + 1)))
    assert refusal.value.code == "file_too_large"


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(order: WorkOrder, technician: User) -> None:
    written = BytesIO()
    Image.new("1", (10_000, 5_001)).save(written, "PNG")
    with pytest.raises(Refused) as refusal:
        attachments.attach(order, technician, sent("bomb.png", written.getvalue()))
    assert refusal.value.code == "picture_too_large"


def test_a_photo_answers_the_task_that_asks_for_one(client: Client, order: WorkOrder, technician: User) -> None:
    item = order.checklist.get()
    client.force_login(technician)
    url = reverse("maintenance:attach", args=[order.pk])
    refused = client.post(url, {"item": item.pk, "file": sent("a.txt", b"x")}, follow=True)
    assert "This is no photo" in refused.content.decode()
    client.post(url, {"item": item.pk, "file": sent("a.jpg", picture())})
    item.refresh_from_db()
    assert (item.done_by, item.attachments.count()) == (technician, 1)
    page = client.get(order.get_absolute_url()).content.decode()
    assert f'src="{item.attachments.get().get_absolute_url()}"' in page


def test_people_of_other_sites_do_not_get_the_file(
    client: Client, order: WorkOrder, technician: User, south: Plant
) -> None:
    kept = attachments.attach(order, technician, sent("a.txt", b"x"))
    stranger = User.objects.create_user("stranger")
    stranger.groups.set(technician.groups.all())
    south.site.members.add(stranger)
    client.force_login(stranger)
    assert client.get(kept.get_absolute_url()).status_code == 404
    assert client.get(f"/api/v1/attachments/{kept.pk}/content/").status_code == 404


def test_a_file_that_is_gone_from_the_storage_is_not_found(client: Client, order: WorkOrder, technician: User) -> None:
    kept = attachments.attach(order, technician, sent("a.txt", b"x"))
    Path(kept.file.path).unlink()
    client.force_login(technician)
    assert client.get(kept.get_absolute_url()).status_code == 404


def test_the_api_takes_and_gives_files(client: Client, order: WorkOrder, technician: User) -> None:
    client.force_login(technician)
    made = client.post("/api/v1/attachments/", {"order": order.pk, "file": sent("a.jpg", picture())})
    assert (made.status_code, made.json()["content_type"]) == (201, "image/jpeg")
    listed = client.get(f"/api/v1/attachments/?order={order.pk}").json()["results"]
    assert [row["id"] for row in listed] == [made.json()["id"]] == [Attachment.objects.get().pk]
    content = client.get(f"/api/v1/attachments/{made.json()['id']}/content/")
    assert content.headers["Content-Type"] == "image/jpeg"
    other = client.post("/api/v1/attachments/", {"order": 0, "file": sent("a.jpg", picture())})
    assert (other.status_code, other.json()["errors"][0]["field"]) == (400, "order")
