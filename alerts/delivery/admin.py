"""Templates of messages in the admin: a new version is tried on an example before it is put into use."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from alerts.delivery import message_tags, template_versions
from alerts.delivery.message_templates import ITEM_VARIABLES, KINDS, VARIABLES, Source
from alerts.models import MessageTemplate
from sensors.admin import SiteScopedAdmin
from sensors.errors import Refused


class MessageTemplateForm(forms.ModelForm):  # type: ignore[type-arg]
    def clean(self) -> dict[str, Any]:
        chosen: dict[str, Any] = super().clean() or self.cleaned_data
        if {"kind", "subject", "text"} <= chosen.keys():
            try:
                template_versions.checked(
                    chosen["kind"], Source(chosen["subject"], chosen["text"], chosen.get("html", ""))
                )
            except Refused as refusal:
                raise ValidationError(refusal.detail, code=refusal.code) from refusal
        return chosen


@admin.register(MessageTemplate)
class MessageTemplateAdmin(SiteScopedAdmin):
    form = MessageTemplateForm
    list_display = ["__str__", "active", "subject", "why", "by", "created_at"]
    list_filter = ["kind", "active"]
    list_select_related = ["by"]
    actions = ["use", "use_delivered"]
    fields = ["kind", "subject", "text", "html", "why", "begin_from", "variables"]

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """A version stays as it is."""
        return False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        seen = ["version", "active", "by", "created_at", "why", "preview", "subject", "text", "html", "variables"]
        return ["kind", *seen] if obj else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.get_fields(request, obj) if obj else ["begin_from", "variables"]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        kind = request.GET.get("kind", "")
        now = template_versions.in_use(kind) if kind in KINDS else None
        return {"kind": kind, "subject": now.subject, "text": now.text, "html": now.html} if now else {}

    def save_model(self, request: HttpRequest, obj: MessageTemplate, form: Any, change: bool) -> None:
        assert isinstance(request.user, User)
        template_versions.keep(obj, request.user)
        self.message_user(request, "See how it reads on an example, then put it into use from the list.")

    @admin.display(description="Begin from what is in use")
    def begin_from(self, row: MessageTemplate) -> SafeString:
        add = reverse("admin:alerts_messagetemplate_add")
        links = ((add, kind, kind.replace("_", " "), meaning) for kind, meaning in KINDS.items())
        return format_html_join("", '<div><a href="{}?kind={}">{}</a>: {}</div>', links)

    @admin.display(description="What may be named")
    def variables(self, row: MessageTemplate) -> SafeString:
        named = format_html_join("", "<div><code>{{{{ {} }}}}</code> {}</div>", VARIABLES.items())
        of_alerts = format_html_join("", "<div><code>{{{{ alert.{} }}}}</code> {}</div>", ITEM_VARIABLES.items())
        loop = "{% for alert in alerts %} … {% endfor %}"
        rest = f"Tags: {', '.join(message_tags.TAGS)}. Filters: {', '.join(message_tags.FILTERS)}."
        return format_html("{}<p>Between <code>{}</code>:</p>{}<p>{}</p>", named, loop, of_alerts, rest)

    @admin.display(description="On an example")
    def preview(self, row: MessageTemplate) -> SafeString:
        try:
            read = template_versions.checked(row.kind, template_versions.source_of(row))
        except Refused as refusal:
            return format_html("{}", refusal.detail)
        frame = '<strong>{}</strong><pre>{}</pre><iframe title="HTML" sandbox srcdoc="{}" width="640" height="480">'
        return format_html(frame + "</iframe>", read.subject, read.text, read.html)

    @admin.action(description="Use this version", permissions=["add"])
    def use(self, request: HttpRequest, queryset: QuerySet[MessageTemplate]) -> None:
        for row in queryset:
            try:
                template_versions.use(row)
            except Refused as refusal:
                self.message_user(request, f"{row}: {refusal.detail}", messages.ERROR)
            else:
                self.log_change(request, row, "Put into use.")
                self.message_user(request, f"{row} is in use.", messages.SUCCESS)

    @admin.action(description="Use the delivered template again", permissions=["add"])
    def use_delivered(self, request: HttpRequest, queryset: QuerySet[MessageTemplate]) -> None:
        for row in queryset.filter(active=True):
            template_versions.use_delivered(row.kind)
            self.log_change(request, row, "Taken out of use.")
            self.message_user(request, f"{row.get_kind_display()}: as delivered.", messages.SUCCESS)
