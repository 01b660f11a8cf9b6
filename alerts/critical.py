"""What every open page asks for when alerts have changed: new critical alerts, and how many alerts are open."""

from datetime import datetime, timedelta

from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from alerts.models import Alert, Severity, State, Transition
from sensors.pages import Request, aware

# More would cover the page; the inbox has them all.
SHOWN = 3
# What is older has been waiting in the inbox for a shift: no news any more.
NEWS_FOR = timedelta(hours=12)


@require_safe
@permission_required("alerts.view_alert", raise_exception=True)
def critical(request: Request) -> HttpResponse:
    """Open critical alerts that were raised, or became critical or came back, after `since`, the newest first.

    Without `since` none; the answer says what time it is here, for the next question.
    """
    now = timezone.now()
    since = aware("since", request.GET["since"]) if "since" in request.GET else now
    found = _calling(request.user, max(since, now - NEWS_FOR))
    context = {
        "steps": found[:SHOWN],
        "more": len(found) > SHOWN,
        "now": now,
        "waiting": Alert.objects.visible_to(request.user).filter(state=State.OPEN).roughly(),
    }
    return render(request, "alerts/_critical.html", context)


def _calling(user: User, since: datetime) -> list[Transition]:
    steps = Transition.objects.visible_to(user).calling_since(since)
    steps = steps.filter(alert__state=State.OPEN, alert__severity=Severity.CRITICAL)
    newest = steps.order_by("-at").select_related("alert__site", "alert__asset").defer("alert__evidence")
    # An alert may have called twice, and calls by its last step.
    last: dict[int, Transition] = {}
    for step in newest[: 2 * (SHOWN + 1)]:
        last.setdefault(step.alert_id, step)
    return list(last.values())
