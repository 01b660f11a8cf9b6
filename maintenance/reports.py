"""Reports are made on demand and by schedule, once per period whatever crashes, and mailed to each recipient once."""

import logging
import smtplib
from datetime import date, datetime, time, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.mail import EmailMessage
from django.db import transaction
from django.utils import timezone

from maintenance.figures import Period, Scope, figures
from maintenance.models import Report, ReportSchedule
from sensors.models import Site

logger = logging.getLogger(__name__)

NO_SERVER = "No mail server is set; see EMAIL_URL."
# Doubled after each failure: the last try is two days after the first.
FIRST_PAUSE = timedelta(minutes=5)
MAX_ATTEMPTS = 10
LEASE = timedelta(minutes=10)


def make(site: Site, period: Period, by: User | None, schedule: ReportSchedule | None = None) -> Report:
    """Make a report of a site and keep it."""
    from maintenance.report_pdf import pdf

    now = timezone.now()
    content = pdf(figures(Scope(site), period, now))
    report = Report(site=site, schedule=schedule, start=period.start, end=period.end, created_at=now, created_by=by)
    report.mail_due_at = now if schedule else None
    report.file.save(f"{site.pk}-{period.start:%Y-%m-%d}.pdf", ContentFile(content), save=False)
    report.save()
    return report


def last_period(schedule: ReportSchedule, now: datetime) -> Period:
    """The newest month or week (from Monday) of the site's calendar that is over."""
    zone = schedule.site.timezone
    today = now.astimezone(zone).date()
    if schedule.every == ReportSchedule.Every.MONTH:
        end = today.replace(day=1)
        start = (end - timedelta(days=1)).replace(day=1)
    else:
        end = today - timedelta(days=today.weekday())
        start = end - timedelta(days=7)
    return Period(_midnight(start, zone), _midnight(end, zone))


def _midnight(day: date, zone: object) -> datetime:
    return datetime.combine(day, time(), zone)  # type: ignore[arg-type]


def make_due(now: datetime) -> int:
    """Make the reports whose period is over; returns how many. Any number of workers may do so at once."""
    made = 0
    for pk in ReportSchedule.objects.filter(is_active=True).values_list("pk", flat=True):
        try:
            made += _make_if_due(pk, now)
        except Exception:
            # One site's report must not keep the others waiting; the next sweep tries again.
            logger.exception("report not made", extra={"schedule_id": pk})
    return made


def _make_if_due(pk: int, now: datetime) -> bool:
    with transaction.atomic():
        free = ReportSchedule.objects.select_for_update(skip_locked=True, of=("self",)).select_related("site")
        schedule = free.filter(pk=pk, is_active=True).first()
        if schedule is None:
            return False
        period = last_period(schedule, now)
        if period.end <= schedule.created_at or schedule.reports.filter(start=period.start).exists():
            return False
        make(schedule.site, period, None, schedule)
    return True


def mail_due(now: datetime) -> None:
    """Mail the reports that wait for it; what fails is tried again later, ten times."""
    for report in Report.objects.filter(mail_due_at__lte=now).select_related("site", "schedule"):
        # Whoever takes it has it for a while; after a crash another one goes on with those who have not got it.
        mine = Report.objects.filter(pk=report.pk, mail_due_at=report.mail_due_at)
        if mine.update(mail_due_at=now + LEASE):
            _mail(report, now)


def _mail(report: Report, now: datetime) -> None:
    assert report.schedule is not None
    report.mail_due_at, report.mail_error = None, ""
    waiting = report.schedule.recipients.filter(is_active=True).exclude(pk__in=report.mailed_to.values("pk"))
    for person in waiting.order_by("pk"):
        if not Report.objects.visible_to(person).filter(pk=report.pk).exists():
            continue  # No longer at this site.
        try:
            _send(report, person)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            report.mail_error = str(error)[:500]
        else:
            report.mailed_to.add(person)
    if report.mail_error and report.mail_error != NO_SERVER:
        report.mail_attempts += 1
        if report.mail_attempts < MAX_ATTEMPTS:
            report.mail_due_at = now + FIRST_PAUSE * 2 ** (report.mail_attempts - 1)
    report.save(update_fields=["mail_due_at", "mail_error", "mail_attempts"])


def _send(report: Report, person: User) -> None:
    """Raises ValueError when there is nobody or nothing to send it by."""
    if settings.EMAIL_BACKEND.endswith("dummy.EmailBackend"):
        raise ValueError(NO_SERVER)
    if not person.email:
        return
    zone = report.site.timezone
    first, last = report.start.astimezone(zone), (report.end - timedelta(days=1)).astimezone(zone)
    days = f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
    link = f"{settings.PUBLIC_URL}{report.get_absolute_url()}"
    mail = EmailMessage(
        f"Maintenance of {report.site}, {days}".replace("\n", " "),
        f"The figures of {report.site} from {days} are attached.\n\nAlso at {link}\n",
        to=[person.email],
        headers={"Auto-Submitted": "auto-generated"},
    )
    with report.file.open("rb") as file:
        mail.attach(f"maintenance-{first:%Y-%m-%d}.pdf", file.read(), "application/pdf")
    mail.send()
