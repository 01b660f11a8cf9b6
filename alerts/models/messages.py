"""By which ways people are told, and every message to them, which waits in its row until it is sent."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from alerts.models.alert import Alert, Severity
from alerts.querysets import ChannelQuerySet, ContactQuerySet, DeliveryItemQuerySet, DeliveryQuerySet
from sensors.models import Site


class Channel(models.Model):
    """A way to tell people something: the log of the server, e-mail, a webhook, or a service that Apprise speaks to.

    A personal channel reaches each person at an address of their own (`Contact`); any other one is a place, such as a
    room of a chat.
    """

    class Kind(models.TextChoices):
        CONSOLE = "console"
        EMAIL = "email", "e-mail"
        WEBHOOK = "webhook"
        APPRISE = "apprise", "chat, SMS and other services"

    site = models.ForeignKey(
        Site, on_delete=models.PROTECT, null=True, blank=True, related_name="channels", help_text="Empty: every site."
    )
    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    config = models.JSONField(default=dict, blank=True, help_text="What may be shown of its settings.")
    secret = models.TextField(blank=True, editable=False, help_text="Encrypted; never shown again.")
    enabled = models.BooleanField(default=True)
    per_minute = models.PositiveSmallIntegerField(
        default=60, help_text="Messages a minute; critical ones are not held back by it."
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Is told, by another channel, when this one fails.",
    )
    failing_since = models.DateTimeField(null=True, blank=True, editable=False)
    paused_until = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="It failed again and again; nothing is tried before."
    )
    last_sent_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_error = models.CharField(max_length=300, blank=True, editable=False)

    objects = ChannelQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def is_set_up(self) -> bool:
        """Whether there is something to send by: e-mail needs a server."""
        return self.kind != self.Kind.EMAIL or not settings.EMAIL_BACKEND.endswith(".dummy.EmailBackend")

    @property
    def is_personal(self) -> bool:
        return self.kind == self.Kind.EMAIL or bool(self.config.get("personal"))


class Contact(models.Model):
    """How a person wants to be told by a personal channel. Without any, people are told by e-mail."""

    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="contacts")
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="contacts")
    address = models.CharField(
        max_length=200, blank=True, help_text="As the service expects it; empty: the address of the account."
    )

    objects = ContactQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["person", "channel"], name="one_contact_per_channel")]

    def __str__(self) -> str:
        return f"{self.person} by {self.channel}"


class Delivery(models.Model):
    """One message to one person, or to the place that a channel is.

    While it waits for its first attempt further alerts of the same group join it: at most one such message exists per
    channel, person, kind and group. It is sent at least once: whoever sends it leases it, sends, and then marks it, and
    a lease that runs out is taken again with the same `key`, by which a receiver knows it.
    """

    class Kind(models.TextChoices):
        ALERT = "alert"
        ESCALATION = "escalation"
        DIGEST = "digest"
        SETTLED = "settled", "all clear"
        NOTICE = "notice"
        TEST = "test"

    class State(models.TextChoices):
        WAITING = "waiting"
        SENDING = "sending"
        SENT = "sent"
        FAILED = "failed"
        CANCELLED = "cancelled", "not needed any more"

    site = models.ForeignKey(Site, on_delete=models.PROTECT, null=True, blank=True, related_name="deliveries")
    channel = models.ForeignKey(Channel, on_delete=models.PROTECT, related_name="deliveries")
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="deliveries"
    )
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.ALERT)
    group_key = models.CharField(max_length=100, help_text="What its alerts have in common, e.g. asset-12.")
    severity = models.PositiveSmallIntegerField(
        choices=Severity.choices, default=Severity.LOW, help_text="The worst of its alerts; critical ones go first."
    )
    reason = models.CharField(max_length=300, help_text="Why this person or place is told.")
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    due_at = models.DateTimeField(default=timezone.now)
    lease_until = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True, blank=True)
    subject = models.CharField(max_length=200, blank=True, help_text="As it was sent; of a notice, what to send.")
    body = models.TextField(blank=True, help_text="As it was sent; of a notice, what to send.")
    alerts = models.ManyToManyField(Alert, through="DeliveryItem", related_name="deliveries")

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        verbose_name_plural = "deliveries"
        permissions = [("redrive_delivery", "Can send failed messages again")]
        constraints = [
            models.UniqueConstraint(
                fields=["channel", "person", "kind", "group_key"],
                condition=Q(state="waiting", attempts=0),
                nulls_distinct=False,
                name="one_waiting_message_per_group",
            )
        ]
        indexes = [
            models.Index(
                fields=["-severity", "due_at"], condition=Q(state__in=["waiting", "sending"]), name="delivery_due"
            ),
            models.Index(fields=["channel", "-sent_at"], name="delivery_sent_by_channel"),
            models.Index(fields=["channel"], condition=Q(state="failed"), name="delivery_failed"),
            models.Index(fields=["person", "-created_at"], name="delivery_newest_of_person"),
            models.Index(fields=["site", "-created_at"], name="delivery_newest_of_site"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} to {self.person or self.channel}"

    def get_absolute_url(self) -> str:
        return reverse("alerts:delivery", args=[self.pk])

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody looks at the page to see how a test ends."""
        return self.kind == self.Kind.TEST and self.state in (self.State.WAITING, self.State.SENDING)


class DeliveryItem(models.Model):
    """An alert that a message tells of, and why this person or place is told of it."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="items")
    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="items")
    reason = models.CharField(max_length=300)
    added_at = models.DateTimeField(default=timezone.now)

    objects = DeliveryItemQuerySet.as_manager()

    class Meta:
        ordering = ["added_at", "pk"]
        constraints = [models.UniqueConstraint(fields=["delivery", "alert"], name="an_alert_once_per_message")]

    def __str__(self) -> str:
        return f"{self.alert} in {self.delivery}"
