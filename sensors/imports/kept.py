"""History that is imported into sensors that were there before: it is kept, too."""

from datetime import timedelta

import numpy as np
from django.conf import settings
from django.utils import timezone

from sensors.columns import Columns
from sensors.models import Sensor


def outliving(columns: Columns, site_id: int | None) -> list[Sensor]:
    """The sensors with readings here that retention would remove soon, unless a person said how long they are kept.

    Without a site those of every site.
    """
    if not settings.RETENTION_DAYS:
        return []
    kept_since = timezone.now() - timedelta(days=settings.RETENTION_DAYS)
    old = np.unique(columns.codes[columns.timestamps < kept_since.timestamp() * 1e6])
    sensors = Sensor.objects.filter(sensor_id__in=[columns.sensor_ids[code] for code in old], retention_days=None)
    return list(sensors.filter(site=site_id) if site_id else sensors)


def keep_for_ever(sensors: list[Sensor]) -> None:
    """From now on nothing of these sensors is removed for its age."""
    Sensor.objects.filter(pk__in=[sensor.pk for sensor in sensors], retention_days=None).update(retention_days=0)
