"""Work orders, logs and verdicts for technicians. States change through `maintenance.work_orders` alone."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from maintenance import (
    class_admin,  # noqa: F401 (registers its pages)
    plan_admin,  # noqa: F401
    stock_admin,  # noqa: F401
    work_orders,
)
from maintenance.models import (
    Attachment,
    ChecklistItem,
    MaintenanceLog,
    Report,
    ReportSchedule,
    Verdict,
    WorkOrder,
    WorkOrderStep,
)
from sensors.admin import ReadOnly, SiteScopedAdmin, VisibleChoices, VisibleRelatedFilter
from sensors.errors import Refused
from sensors.models import Site


class LogInline(VisibleChoices, admin.TabularInline):  # type: ignore[type-arg]
    """What was done; a line is added while the order runs and then stays."""

    model = MaintenanceLog
    fields = ["completion_date", "notes", "duration_minutes", "done_by"]
    readonly_fields = ["done_by"]
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(obj and obj.is_running and super().has_add_permission(request, obj))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class StepInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    """What happened; it is written by the steps themselves."""

    model = WorkOrderStep
    fields = ["at", "from_state", "to_state", "by", "reason"]
    extra = 0


class ChecklistInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    """The tasks and what came of them; they are answered on the order's page."""

    model = ChecklistItem
    fk_name = "order"
    fields = ["position", "text", "kind", "value", "answer", "failed", "done_by", "done_at"]
    extra = 0


class AttachmentInline(ReadOnly, VisibleChoices, admin.TabularInline):  # type: ignore[type-arg]
    model = Attachment
    fields = ["name", "size", "by", "at"]
    extra = 0


@admin.register(WorkOrder)
class WorkOrderAdmin(SiteScopedAdmin):
    list_display = ["__str__", "state", "priority", "site", "asset", "assignee", "due_at", "created_at"]
    list_filter = [
        "state",
        "kind",
        "priority",
        ("site", VisibleRelatedFilter),
        ("assignee", admin.EmptyFieldListFilter),
    ]
    list_select_related = ["site", "asset", "assignee"]
    search_fields = ["title", "description", "asset__name", "=pk"]
    date_hierarchy = "created_at"
    autocomplete_fields = ["asset"]
    inlines = [StepInline, ChecklistInline, AttachmentInline, LogInline]
    actions = ["approve", "start", "cancel"]
    edited = ["title", "description", "kind", "priority", "due_at", "estimated_hours", "assignee"]
    kept = [
        *("state", "site", "asset", "alert", "follows", "created_by", "created_at", "planned_start", "started_at"),
        *("done_at", "closed_at", "outcome", "failure_mode", "actual_hours", "downtime_minutes", "other_cost"),
    ]

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        return [*self.edited, *self.kept] if obj else ["asset", *self.edited]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return self.kept if obj else []

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "assignee":
            sites = Site.objects.visible_to(request.user)
            kwargs["queryset"] = User.objects.filter(is_active=True, sites__in=sites).distinct().order_by("username")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        assert isinstance(request.user, User)
        obj.site = obj.asset.site
        obj.state = WorkOrder.State.APPROVED if request.user.has_perm(work_orders.APPROVE) else obj.state
        work_orders.enter(obj, request.user)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        assert isinstance(request.user, User)
        for log in formset.save(commit=False):
            try:
                work_orders.add_log(
                    log.work_order,
                    request.user,
                    log.notes,
                    duration_minutes=log.duration_minutes,
                    completion_date=log.completion_date,
                )
            except Refused as refusal:
                self.message_user(request, refusal.detail, messages.ERROR)

    def has_approve_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(work_orders.APPROVE)

    @admin.action(description="Approve", permissions=["approve"])
    def approve(self, request: HttpRequest, queryset: QuerySet[WorkOrder]) -> None:
        self._move(request, queryset, work_orders.approve, "approved")

    @admin.action(description="Start work", permissions=["change"])
    def start(self, request: HttpRequest, queryset: QuerySet[WorkOrder]) -> None:
        self._move(request, queryset, work_orders.start, "started")

    @admin.action(description="Cancel", permissions=["change"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[WorkOrder]) -> None:
        self._move(request, queryset, work_orders.cancel, "cancelled")

    def _move(
        self, request: HttpRequest, orders: QuerySet[WorkOrder], step: Callable[[WorkOrder, User], WorkOrder], done: str
    ) -> None:
        assert isinstance(request.user, User)
        for order in orders:
            try:
                step(order, request.user)
            except Refused as refusal:
                self.message_user(request, refusal.detail, messages.ERROR)
            else:
                self.message_user(request, f"{order}: {done}.", messages.SUCCESS)


@admin.register(MaintenanceLog)
class MaintenanceLogAdmin(SiteScopedAdmin):
    list_display = ["completion_date", "asset", "notes", "duration_minutes", "done_by", "work_order"]
    list_filter = [("asset__site", VisibleRelatedFilter)]
    list_select_related = ["asset", "done_by", "work_order"]
    search_fields = ["notes", "asset__name", "done_by__username"]
    date_hierarchy = "completion_date"
    autocomplete_fields = ["asset"]
    fields = ["asset", "completion_date", "duration_minutes", "notes", "work_order", "done_by"]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return [*(["asset"] if obj else []), "work_order", "done_by"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What somebody else did, or what belongs to an ended order, is not rewritten."""
        if obj and (obj.done_by != request.user or (obj.work_order and not obj.work_order.is_running)):
            return False
        return super().has_change_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.done_by = request.user
        super().save_model(request, obj, form, change)


@admin.register(Verdict)
class VerdictAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["given_at", "outcome", "asset", "alert", "work_order", "given_by"]
    list_filter = ["outcome", ("asset__site", VisibleRelatedFilter)]
    list_select_related = ["asset", "alert", "work_order", "given_by"]
    search_fields = ["alert__title", "asset__name"]
    date_hierarchy = "given_at"


@admin.register(Report)
class ReportAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["created_at", "site", "start", "end", "created_by", "mail_error"]
    list_filter = [("site", VisibleRelatedFilter)]
    list_select_related = ["site", "created_by"]
    date_hierarchy = "created_at"
    exclude = ["file"]


@admin.register(ReportSchedule)
class ReportScheduleAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["site", "every", "is_active", "created_at"]
    list_filter = ["every", "is_active", ("site", VisibleRelatedFilter)]
    list_select_related = ["site"]
