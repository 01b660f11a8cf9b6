"""Users, groups and beat jobs in the admin: nobody can give themselves or others more than they have."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.http import HttpRequest
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)

from sensors.access import permissions_beyond, users_within_rights_of
from sensors.admin import ReadOnly, VisibleChoices
from sensors.models import Site

admin.site.unregister([User, Group, ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule])


class MembershipInline(VisibleChoices, admin.TabularInline):  # type: ignore[type-arg]
    model = Site.members.through
    verbose_name_plural = "sites"
    extra = 0


@admin.register(User)
class UserAdmin(DjangoUserAdmin):  # type: ignore[type-arg]
    """People are deactivated, never deleted: what they did keeps their name."""

    list_display = ["username", "email", "first_name", "last_name", "is_active", "last_login"]
    list_filter = ["is_active", "groups"]
    inlines = [MembershipInline]
    readonly_fields = ["last_login", "date_joined"]
    fieldsets = [
        (None, {"fields": ["username", "password"]}),
        ("Person", {"fields": ["first_name", "last_name", "email"]}),
        ("Rights", {"fields": ["is_active", "is_superuser", "groups"]}),
        ("Dates", {"fields": ["last_login", "date_joined"]}),
    ]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return [*self.readonly_fields, *([] if request.user.is_superuser else ["is_superuser"])]

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "groups":
            assert isinstance(request.user, User)
            kwargs["queryset"] = Group.objects.exclude(permissions__in=permissions_beyond(request.user))
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever can set somebody's password or address can become them: only for those who have no more rights."""
        allowed: bool = super().has_change_permission(request, obj)
        if obj is None or not allowed:
            return allowed
        assert isinstance(request.user, User)
        return users_within_rights_of(request.user).filter(pk=obj.pk).exists()

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Group)
class GroupAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """The roles, to look at: they are written in config/roles.py."""

    search_fields = ["name"]


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The beat jobs, to look at and to switch off and on; which there are, and how often, stands in the settings."""

    list_display = ["name", "task", "schedule", "enabled", "last_run_at", "total_run_count"]
    list_filter = ["enabled"]
    list_select_related = ["interval", "crontab", "solar", "clocked"]
    search_fields = ["name", "task"]
    fields = ["name", "task", "schedule", "enabled", "last_run_at", "total_run_count"]
    readonly_fields = ["name", "task", "schedule", "last_run_at", "total_run_count"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    @admin.display
    def schedule(self, task: Any) -> str:
        return str(task.scheduler)
