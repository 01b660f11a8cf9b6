"""What admins have put in the place of the delivered templates of messages."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from alerts.delivery import message_templates
from alerts.querysets import MessageTemplateQuerySet

KINDS = [(kind, kind.replace("_", " ")) for kind in message_templates.KINDS]


class MessageTemplate(models.Model):
    """One version of a template. It is never changed: a new one takes its place, or an older one again."""

    kind = models.CharField(max_length=20, choices=KINDS)
    version = models.PositiveIntegerField(editable=False)
    subject = models.CharField(max_length=500)
    text = models.TextField(max_length=20_000)
    html = models.TextField("HTML", max_length=20_000, blank=True, help_text="Empty: made from the text.")
    why = models.CharField(max_length=200, blank=True, help_text="What is different from the version before.")
    active = models.BooleanField("in use", default=False, editable=False)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", editable=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = MessageTemplateQuerySet.as_manager()

    class Meta:
        ordering = ["kind", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["kind", "version"], name="template_version_once"),
            models.UniqueConstraint(fields=["kind"], condition=Q(active=True), name="one_template_in_use_per_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}, version {self.version}"
