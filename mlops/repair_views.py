"""Whether a job did its work, on the page of its order."""

from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from maintenance.models import WorkOrder
from mlops import pictures
from mlops.models import RepairCheck
from sensors.pages import Request


@require_safe
@permission_required("mlops.view_repaircheck", raise_exception=True)
def of_order(request: Request, pk: int) -> HttpResponse:
    order = get_object_or_404(WorkOrder.objects.visible_to(request.user).select_related("site"), pk=pk)
    check = RepairCheck.objects.filter(order=order).first()
    drawn = []
    for each in check.evidence.get("sensors", []) if check else []:
        drawn.append((each["reason"], pictures.of_repair(each["chart"], order.site.timezone) if each["chart"] else ""))
    return render(request, "mlops/_repair.html", {"order": order, "check": check, "drawn": drawn})
