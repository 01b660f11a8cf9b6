"""What every app's admin is built from: rows of visible sites, choices of visible sites, and nothing is deleted."""

from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest


class VisibleChoices(admin.options.BaseModelAdmin):  # type: ignore[type-arg]
    """Offers only rows of visible sites as choices, and links straight to the pages of rows."""

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs.setdefault("queryset", self._visible(db_field, request))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs.setdefault("queryset", self._visible(db_field, request))
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def _visible(self, db_field: Any, request: HttpRequest) -> QuerySet[Any]:
        rows = db_field.remote_field.model._default_manager.all()
        visible: QuerySet[Any] = rows.visible_to(request.user) if hasattr(rows, "visible_to") else rows
        return visible

    def get_view_on_site_url(self, obj: Any = None) -> str | None:
        return obj.get_absolute_url() if hasattr(obj, "get_absolute_url") else None


class SiteScopedAdmin(VisibleChoices, admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows of visible sites only: in lists, on their own pages, as choices, in autocompletion. Nothing is deleted."""

    list_per_page = 50
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: Any = super().get_queryset(request)
        visible: QuerySet[Any] = rows.visible_to(request.user)
        return visible

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Model:
        row: Model | None = super().get_object(request, object_id, from_field)
        if row is None:
            raise Http404
        return row

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class ReadOnly(admin.options.BaseModelAdmin):  # type: ignore[type-arg]
    """Rows that only the platform writes."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class VisibleRelatedFilter(admin.RelatedFieldListFilter):
    """A filter in the side bar that lists rows of visible sites only."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        visible = field.remote_field.model._default_manager.visible_to(request.user)
        ordering = self.field_admin_ordering(field, request, model_admin)
        choices: list[tuple[str, Any]] = field.get_choices(
            include_blank=False, ordering=ordering, limit_choices_to={"pk__in": visible.values("pk")}
        )
        return choices
