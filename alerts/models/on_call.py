"""Who is on call when."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from timezone_field import TimeZoneField

from alerts.querysets import OfScheduleQuerySet, RotationMemberQuerySet, ScheduleQuerySet
from sensors.models import Site
from sensors.wall_clock import OUT_OF_TIME, in_our_time


class Schedule(models.Model):
    """Somebody is on call at every time: whose turn it is, unless somebody else stands in."""

    name = models.CharField(max_length=100, unique=True)
    site = models.ForeignKey(
        Site, on_delete=models.PROTECT, null=True, blank=True, related_name="schedules", help_text="Empty: every site."
    )
    timezone = TimeZoneField(default="UTC", help_text="In which shifts change.")

    objects = ScheduleQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Rotation(models.Model):
    """People take turns in order, from a day on; a later rotation of the same schedule takes over from its own day."""

    class Every(models.TextChoices):
        DAY = "day"
        WEEK = "week"
        HOURS = "hours", "some hours"

    # Shifts that divide the day change at the same times every day.
    HOURS = [(4, "4"), (6, "6"), (8, "8"), (12, "12")]

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="rotations")
    starts_on = models.DateField(help_text="The day of the first person's first turn.")
    hand_over = models.TimeField(help_text="When the first turn begins, and every further one of days or weeks.")
    every = models.CharField(max_length=5, choices=Every.choices, default=Every.WEEK)
    hours = models.PositiveSmallIntegerField(choices=HOURS, default=8, help_text="Length of a turn of some hours.")
    people = models.ManyToManyField(settings.AUTH_USER_MODEL, through="RotationMember", related_name="+")

    objects = OfScheduleQuerySet.as_manager()

    class Meta:
        ordering = ["starts_on", "hand_over", "pk"]

    def __str__(self) -> str:
        return f"{self.schedule} from {self.starts_on}"


class RotationMember(models.Model):
    """Whose turn is the how manieth."""

    rotation = models.ForeignKey(Rotation, on_delete=models.CASCADE, related_name="members")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    position = models.PositiveSmallIntegerField()

    objects = RotationMemberQuerySet.as_manager()

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["rotation", "position"], name="one_person_per_turn")]

    def __str__(self) -> str:
        return f"{self.position}. {self.person}"


class Override(models.Model):
    """Somebody stands in for whoever is on call; where two overlap, the one made last counts."""

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="overrides")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    start = models.DateTimeField()
    end = models.DateTimeField()
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", editable=False
    )

    objects = OfScheduleQuerySet.as_manager()

    class Meta:
        ordering = ["start", "pk"]
        constraints = [models.CheckConstraint(condition=Q(end__gt=F("start")), name="a_stand_in_ends")]
        indexes = [models.Index(fields=["schedule", "end"], name="override_of_schedule")]

    def __str__(self) -> str:
        return f"{self.person} stands in, {self.schedule}"

    def clean(self) -> None:
        """Raises ValidationError when it does not last, or lies where no clock can show it."""
        for name in ("start", "end"):
            if getattr(self, name) and not in_our_time(getattr(self, name)):
                raise ValidationError({name: ValidationError(OUT_OF_TIME, code="out_of_time")})
        if self.start and self.end and self.end <= self.start:
            raise ValidationError({"end": ValidationError("It ends after it starts.", code="too_short")})
