"""Who is told next while nobody has acknowledged an alert."""

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q

from alerts.models.alert import Alert
from alerts.models.messages import Channel
from alerts.models.on_call import Schedule
from alerts.querysets import EscalationPolicyQuerySet, EscalationQuerySet, EscalationStepQuerySet
from sensors.models import Site

MOST_REPEATS = 5
LONGEST_WAIT_MINUTES = 7 * 24 * 60


class EscalationPolicy(models.Model):
    """Steps that are taken one after the other until somebody acknowledges, resolves or snoozes the alert."""

    name = models.CharField(max_length=100, unique=True)
    site = models.ForeignKey(
        Site, on_delete=models.PROTECT, null=True, blank=True, related_name="policies", help_text="Empty: every site."
    )
    repeat = models.PositiveSmallIntegerField(
        default=0, validators=[MaxValueValidator(MOST_REPEATS)], help_text="How often all steps are taken again."
    )

    objects = EscalationPolicyQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "escalation policies"
        constraints = [models.CheckConstraint(condition=Q(repeat__lte=MOST_REPEATS), name="repeats_end")]

    def __str__(self) -> str:
        return self.name


class EscalationStep(models.Model):
    """Whom a step tells. A personal channel is used instead of those people chose; any other one is told itself."""

    policy = models.ForeignKey(EscalationPolicy, on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveSmallIntegerField()
    wait_minutes = models.PositiveIntegerField(
        default=15,
        validators=[MaxValueValidator(LONGEST_WAIT_MINUTES)],
        help_text="After the step before; of the first step, after people were told.",
    )
    people = models.ManyToManyField(settings.AUTH_USER_MODEL, blank=True, related_name="+")
    roles = models.ManyToManyField(Group, blank=True, related_name="+")
    schedule = models.ForeignKey(Schedule, on_delete=models.PROTECT, null=True, blank=True, related_name="steps")
    channel = models.ForeignKey(Channel, on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    objects = EscalationStepQuerySet.as_manager()

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["policy", "position"], name="one_step_per_position")]

    def __str__(self) -> str:
        return f"step {self.position} of {self.policy}"


class Escalation(models.Model):
    """How far a policy is with an alert: `step` of `round`, both from 0, is taken at `next_at`."""

    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="escalations")
    policy = models.ForeignKey(EscalationPolicy, on_delete=models.PROTECT, related_name="escalations")
    began_at = models.DateTimeField()
    round = models.PositiveSmallIntegerField(default=0)
    step = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    objects = EscalationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["alert", "policy"], condition=Q(ended_at__isnull=True), name="one_escalation_per_policy"
            ),
            models.CheckConstraint(
                condition=Q(next_at__isnull=True, ended_at__isnull=False)
                | Q(next_at__isnull=False, ended_at__isnull=True),
                name="an_escalation_goes_on_or_has_ended",
            ),
        ]
        indexes = [models.Index(fields=["next_at"], condition=Q(next_at__isnull=False), name="escalation_due")]

    def __str__(self) -> str:
        return f"{self.policy} for {self.alert}"
