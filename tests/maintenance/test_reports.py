from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core import mail
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from pypdf import PdfReader

from config.storage import files_storage
from maintenance import reports
from maintenance.figures import Period
from maintenance.models import Report, ReportSchedule
from sensors.models import Asset, AssetClass
from tests.conftest import Plant
from tests.maintenance.test_figures import alert_of, closed, day, logged

MARCH = datetime(2026, 3, 2, 8, tzinfo=UTC)
# Reading order is kept, line ends are not.
ODD = 'Pumpe Ø 12 <b>"№ 7"</b> & Łódź – Насос'


@pytest.fixture(autouse=True)
def mails(settings: LazySettings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"


@pytest.fixture
def works(north: Plant) -> Plant:
    """A site with a little of everything in January."""
    north.pump.asset_class = AssetClass.objects.get(name="Pump")
    north.pump.save()
    odd = Asset.objects.create(site=north.site, name=ODD)
    for number in (3, 9):
        closed(north.pump, day(number), downtime_minutes=90, downtime_reason="Seal leaks", other_cost=1200)
    closed(odd, day(12), alert=alert_of(odd, day(11)), estimated_hours=2, actual_hours=3)
    logged(north.pump, day(20), kind="preventive", duration_minutes=45, cost="99.90")
    return north


@pytest.fixture
def monthly(works: Plant, people: dict[str, User]) -> ReportSchedule:
    schedule = ReportSchedule.objects.create(site=works.site, created_at=day(1))
    schedule.recipients.set([people["engineer"], people["viewer"]])
    return schedule


def text_of(content: bytes) -> str:
    return " ".join(" ".join(page.extract_text() for page in PdfReader(BytesIO(content)).pages).split())


def made(works: Plant) -> Report:
    period = Period(*(datetime(2026, month, 1, tzinfo=works.site.timezone) for month in (1, 2)))
    return reports.make(works.site, period, None)


def test_the_report_says_what_the_api_says(client: Client, people: dict[str, User], works: Plant) -> None:
    client.force_login(people["technician"])
    start, end = "2026-01-01T00:00:00+01:00", "2026-02-01T00:00:00+01:00"
    answer = client.post(
        reverse("api:report-list"), {"site": works.site.pk, "start": start, "end": end}, "application/json"
    )
    assert answer.status_code == 201
    content = b"".join(client.get(reverse("api:report-pdf", args=[answer.json()["id"]])))  # type: ignore[arg-type]
    text = text_of(content)
    figures = client.get(reverse("api:figures"), {"from": start, "to": end}).json()
    assert figures["lines"]
    for line in figures["lines"]:
        value, unit = line["value"], line["unit"]
        if value is None:
            written = "–"
        elif unit == "share":
            written = f"{100 * value:.1f} %"
        else:
            written = {"": f"{value:,.0f}", "h": f"{value:,.1f} h"}.get(unit, f"{value:,.2f} {unit}")
        of = "" if line["of"] is None else f" {line['of']:,}"
        assert f"{line['name']} {written}{of}" in text
    for row in figures["by_class"] + figures["by_asset"]:
        assert f"{row['failures']} {row['mtbf_hours']:,.1f}" in text


def test_the_report_has_its_charts(works: Plant) -> None:
    with made(works).file.open("rb") as file:
        content = file.read()
    text = text_of(content)
    for title in ("Jobs by month", "Failures by month", "Cost by month, EUR", "Downtime by cause, h"):
        assert title in text
    assert "Jan 2026" in text
    drawn = b"".join(page.get_contents().get_data() for page in PdfReader(BytesIO(content)).pages)  # type: ignore[union-attr]
    # The colours of the bars: planned, unplanned and downtime.
    for color in (b".298039 .533333 .819608 rg", b".823529 .211765 .180392 rg", b".882353 .486275 .109804 rg"):
        assert color in drawn


def test_names_in_any_script_survive(works: Plant) -> None:
    with made(works).file.open("rb") as file:
        assert ODD in text_of(file.read())


def test_a_site_without_anything_has_a_report(south: Plant) -> None:
    with made(south).file.open("rb") as file:
        assert "Maintenance of South" in text_of(file.read())


@pytest.mark.parametrize(
    ("every", "now", "days"),
    [
        ("month", datetime(2026, 3, 2, tzinfo=UTC), ("2026-02-01", "2026-03-01")),
        # In Berlin it is March already.
        ("month", datetime(2026, 2, 28, 23, 30, tzinfo=UTC), ("2026-02-01", "2026-03-01")),
        ("month", datetime(2026, 1, 15, tzinfo=UTC), ("2025-12-01", "2026-01-01")),
        ("week", datetime(2026, 4, 1, tzinfo=UTC), ("2026-03-23", "2026-03-30")),
    ],
)
def test_the_last_period_is_that_of_the_sites_calendar(
    north: Plant, every: str, now: datetime, days: tuple[str, str]
) -> None:
    period = reports.last_period(ReportSchedule(site=north.site, every=every), now)
    assert (f"{period.start:%Y-%m-%d}", f"{period.end:%Y-%m-%d}") == days


def test_each_period_is_made_once(monthly: ReportSchedule) -> None:
    assert [reports.make_due(MARCH) for _ in range(3)] == [1, 0, 0]
    assert reports.make_due(MARCH + timedelta(days=31)) == 1
    report = Report.objects.earliest("start")
    assert (report.start.astimezone(monthly.site.timezone).month, report.schedule) == (2, monthly)
    twin = {"site": report.site, "schedule": monthly, "start": report.start, "end": report.end}
    with pytest.raises(IntegrityError), transaction.atomic():
        Report.objects.create(**twin)


def test_what_was_over_before_the_schedule_is_not_made(monthly: ReportSchedule) -> None:
    assert reports.make_due(day(5)) == 0


def test_a_schedule_that_is_off_makes_nothing(monthly: ReportSchedule) -> None:
    ReportSchedule.objects.update(is_active=False)
    assert reports.make_due(MARCH) == 0


def test_one_sites_trouble_does_not_keep_the_others_waiting(
    monthly: ReportSchedule, south: Plant, settings: LazySettings
) -> None:
    ReportSchedule.objects.create(site=south.site, created_at=day(1))
    settings.STORAGES = {**settings.STORAGES, "default": files_storage("", Path("/proc/none"))}
    assert reports.make_due(MARCH) == 0
    assert not Report.objects.exists()


def test_each_recipient_is_mailed_once(monthly: ReportSchedule, people: dict[str, User]) -> None:
    reports.make_due(MARCH)
    now = Report.objects.get().mail_due_at
    assert now is not None
    for _ in range(2):
        reports.mail_due(now + timedelta(hours=1))
    assert sorted(message.to[0] for message in mail.outbox) == ["engineer@example.com", "viewer@example.com"]
    (name, content, kind) = mail.outbox[0].attachments[0]
    assert (name, kind) == ("maintenance-2026-02-01.pdf", "application/pdf")
    assert "Maintenance of North" in text_of(content)  # type: ignore[arg-type]


def test_whoever_left_the_site_gets_no_mail(monthly: ReportSchedule, people: dict[str, User]) -> None:
    monthly.site.members.remove(people["viewer"])
    reports.make_due(MARCH)
    now = Report.objects.get().mail_due_at
    assert now is not None
    reports.mail_due(now)
    assert [message.to for message in mail.outbox] == [["engineer@example.com"]]


def test_after_a_failure_only_those_are_mailed_who_have_nothing_yet(
    monthly: ReportSchedule, people: dict[str, User], settings: LazySettings
) -> None:
    reports.make_due(MARCH)
    report = Report.objects.get()
    report.mailed_to.add(people["engineer"])
    now = report.mail_due_at
    assert now is not None
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    reports.mail_due(now)
    report.refresh_from_db()
    assert report.mail_error
    assert report.mail_due_at is not None
    assert report.mail_due_at > now
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    reports.mail_due(report.mail_due_at)
    assert [message.to for message in mail.outbox] == [["viewer@example.com"]]


def test_without_a_mail_server_the_page_says_so(
    client: Client, monthly: ReportSchedule, people: dict[str, User], settings: LazySettings
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    reports.make_due(MARCH)
    now = Report.objects.get().mail_due_at
    assert now is not None
    reports.mail_due(now)
    client.force_login(people["viewer"])
    page = client.get(reverse("maintenance:reports")).content.decode()
    assert "No mail server is set" in page


def test_people_make_reports_and_schedules_on_the_page(client: Client, works: Plant, people: dict[str, User]) -> None:
    client.force_login(people["engineer"])
    days = {"site": works.site.pk, "first": "2026-01-01", "last": "2026-01-31"}
    assert client.post(reverse("maintenance:make-report"), days).status_code == 302
    report = Report.objects.get()
    assert (report.end - report.start, report.created_by) == (timedelta(days=31), people["engineer"])
    assert b"".join(client.get(report.get_absolute_url())).startswith(b"%PDF")  # type: ignore[arg-type]
    wrong = days | {"first": "2026-02-01"}
    assert client.post(reverse("maintenance:make-report"), wrong).status_code == 422
    schedule = {"site": works.site.pk, "every": "week", "recipients": [people["viewer"].pk], "is_active": "on"}
    for _ in range(2):
        assert client.post(reverse("maintenance:schedule-report"), schedule).status_code == 302
    assert [str(one) for one in ReportSchedule.objects.get().recipients.all()] == [str(people["viewer"])]


def test_reports_of_another_site_do_not_exist(
    client: Client, works: Plant, south: Plant, people: dict[str, User]
) -> None:
    report = made(south)
    client.force_login(people["engineer"])
    assert client.get(report.get_absolute_url()).status_code == 404
    assert client.get(reverse("api:report-pdf", args=[report.pk])).status_code == 404
    stranger = User.objects.create_user("stranger")
    south.site.members.add(stranger)
    for about in ({"site": south.site.pk}, {"site": works.site.pk, "recipients": [stranger.pk]}):
        answer = client.post(reverse("maintenance:schedule-report"), {"every": "month"} | about)
        assert answer.status_code == 422
