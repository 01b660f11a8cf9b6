"""What assets of a class are made of, so that a new one is set up in one go."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from sensors.models import AssetClass
from sensors.querysets import CatalogueQuerySet


def validate_content(content: Any) -> None:
    """Raises ValidationError when a template could not be carried out."""
    from maintenance.asset_templates import problems_of  # It reads the models.

    if problems := problems_of(content):
        raise ValidationError([ValidationError(problem, code="content") for problem in problems])


class AssetTemplate(models.Model):
    """Sensors with their limits, failure modes and plans of an asset; `maintenance.asset_templates` says what `content`
    may hold.
    """

    name = models.CharField(max_length=100, unique=True)
    asset_class = models.ForeignKey(AssetClass, on_delete=models.PROTECT, related_name="templates")
    content = models.JSONField(default=dict, validators=[validate_content])

    objects = CatalogueQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
