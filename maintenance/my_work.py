"""What a technician does today: the page they have open at the machine, also without a network."""

from datetime import datetime, timedelta

from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.db.models import Case, Q, Value, When
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from maintenance.models import Outcome, WorkOrder
from maintenance.work_orders import BEGUN, READY
from sensors.pages import Request, live_page

MOST = 50
State = WorkOrder.State


def todays_orders(user: User, now: datetime) -> list[WorkOrder]:
    """Approved orders of this person, and those of nobody on sites that they see: not those planned for another day.

    What is in progress stands first, then what is overdue, then by priority and due time.
    """
    urgency = Case(
        When(state=State.IN_PROGRESS, then=Value(0)),
        When(due_at__lt=now, then=Value(1)),
        default=Value(2),
    )
    of_nobody = Q(assignee=None, crew=None)
    mine = WorkOrder.objects.visible_to(user).filter(state__in=(*READY, *BEGUN))
    rows = mine.filter(Q(pk__in=mine.of(user).order_by().values("pk")) | of_nobody)
    rows = rows.filter(Q(planned_start=None) | Q(planned_start__lt=now + timedelta(days=1)))
    rows = rows.select_related("site", "asset", "alert", "assignee").order_by(urgency, "-priority", "due_at", "pk")
    return [order for order in rows[:MOST] if _is_for_today(order, now)]


def _is_for_today(order: WorkOrder, now: datetime) -> bool:
    """Where the machine stands."""
    zone = order.site.timezone
    return order.planned_start is None or order.planned_start.astimezone(zone).date() <= now.astimezone(zone).date()


@require_safe
@permission_required("maintenance.change_workorder", raise_exception=True)
def mine(request: Request) -> HttpResponse:
    now = timezone.now()
    context = {"orders": todays_orders(request.user, now), "outcomes": Outcome.choices, "now": now}
    return live_page(request, "maintenance/my_work.html", "maintenance/_my_work.html", context)


@require_safe
@permission_required("maintenance.view_workorder", raise_exception=True)
def worker(request: Request) -> HttpResponse:
    """The service worker of the pages below /work-orders/; its address decides what it may see."""
    return render(request, "maintenance/worker.js", content_type="text/javascript")
