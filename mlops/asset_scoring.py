"""Models of whole assets: readings -> rows on the asset's grid -> scores -> events.

Scoring of sensors notes what has come in (`note`), in its own transaction; what waits is looked at once a second
(`score_due`), so that many small batches are one piece of work. A row is scored once all sensors that send have said
what they say of it, and again when readings come in late: the events are those of what is stored, whatever the order it
came in. One asset is scored by one worker at a time.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
from django.conf import settings
from django.contrib.postgres.aggregates import BoolAnd
from django.db import transaction
from django.db.models import Max, Min
from django.utils import timezone
from numpy.typing import NDArray

from alerts.models import Alert
from mlops import deployments, recording, withdrawal
from mlops.context import circumstances_of_asset
from mlops.detectors.base import Frame
from mlops.events import Circumstances, Look, find_events
from mlops.grid import MISSED_READINGS, Grid, Series
from mlops.measures import ByAsset, N, is_of_an_asset, memory_us
from mlops.models import Anomaly, Deployment, Purpose, UnscoredStretch
from mlops.registry import figures, loading
from mlops.registry.loading import Served
from sensors import faults, history
from sensors.checks import SPAN_GAP_US
from sensors.history import Span
from sensors.models import Asset, Sensor

logger = logging.getLogger(__name__)

# A task ends after this long.
TURN_SECONDS = 1.0
# So many rows of a grid are scored at once: a minute of work for no detector, and no more than megabytes.
MOST_ROWS = 50_000
# Rows further apart than this many steps are no neighbours: what lies before a pause confirms nothing after it.
PAUSE_ROWS = 10
# After an alert was resolved the machine gets this long to come back to normal before the asset may alert again.
SETTLING = timedelta(minutes=1)
LATE = "Readings that came in later show nothing unusual."
INSTEAD = "what watches its sensors one by one"


@dataclass(frozen=True)
class Watched:
    """An asset with the model that serves it; `sensors` by channel of the model, without those that are not there."""

    asset: Asset
    deployment: Deployment
    served: Served
    sensors: dict[str, Sensor]

    @property
    def grid(self) -> Grid:
        grid: Grid = self.served.artifact.preprocessing
        return grid

    @property
    def patience_us(self) -> int:
        """How long after its reading a sensor may still have a part in a row."""
        return max(self.grid.tolerances_us.values()) + self.grid.step_us

    @property
    def reach_us(self) -> int:
        """Readings further from a row than this have no part in whether it belongs to an event."""
        pauses = N * PAUSE_ROWS * self.grid.step_us
        return memory_us(self.served.artifact) + self.patience_us + pauses


def note(spans: Sequence[Span], historical: bool) -> None:
    """Remember what the models of assets have to look at because of these spans, if they have models."""
    owners = deployments.assets_watched({span.sensor for span in spans})
    found = [(owners[span.sensor], span.first, span.last) for span in spans if span.sensor in owners]
    UnscoredStretch.objects.bulk_create(
        UnscoredStretch(asset_id=asset, start=_datetime(first), end=_datetime(last), historical=historical)
        for asset, first, last in _touching(found)
    )


def score_due() -> None:
    """Score what waits, live readings first, for a turn at most."""
    deadline = time.monotonic() + TURN_SECONDS
    waiting = UnscoredStretch.objects.values("asset").annotate(oldest=Min("pk"), past=BoolAnd("historical"))
    for key in list(waiting.order_by("past", "oldest").values_list("asset", flat=True)):
        try:
            while time.monotonic() < deadline and _score_next(key):
                pass
        except Exception:
            # It waits on, and the others pass it.
            logger.exception("an asset could not be scored", extra={"asset": key})


def _score_next(key: int) -> bool:
    """Score the first piece of what waits for an asset; False when nothing does, or somebody else is at it."""
    with transaction.atomic():
        free = Asset.objects.select_for_update(skip_locked=True, no_key=True, of=("self",)).filter(pk=key)
        asset = free.select_related("site").first()
        rows = list(UnscoredStretch.objects.filter(asset=asset).order_by("historical", "start")) if asset else []
        if asset is None or not rows:
            return False
        historical = rows[0].historical
        rows = [row for row in rows if row.historical == historical]
        watched = _watched(asset)
        first, last = _us(rows[0].start), _us(max(row.end for row in rows))
        if watched:
            stretches = [(key, _us(row.start), _us(row.end)) for row in rows]
            [_, first, last] = _touching(stretches, watched.reach_us)[0]
            last = min(last, first + MOST_ROWS * watched.grid.step_us)
            _score(watched, first, last, historical)
        _tick_off(rows, last)
        return True


def _tick_off(rows: list[UnscoredStretch], last: int) -> None:
    """What was seen up to `last` waits no more."""
    seen, left = _datetime(last), _datetime(last + 1)
    UnscoredStretch.objects.filter(pk__in=[row.pk for row in rows if row.end <= seen]).delete()
    begun = [row.pk for row in rows if row.start <= seen < row.end]
    UnscoredStretch.objects.filter(pk__in=begun).update(start=left)


def _watched(asset: Asset) -> Watched | None:
    deployment = deployments.serving_assets([asset], Purpose.ASSET_ANOMALY).get(asset.pk)
    served = loading.load(deployment) if deployment else None
    if deployment is None or served is None:
        return None
    if not is_of_an_asset(served.artifact):
        _trouble(deployment, "it is no model of an asset")
        return None
    channels = Sensor.objects.filter(asset=asset, sensor_id__in=served.artifact.features)
    channels = channels.exclude(status=Sensor.Status.DISCOVERED)
    return Watched(asset, deployment, served, {sensor.sensor_id: sensor for sensor in channels})


def _trouble(deployment: Deployment, reason: str) -> None:
    logger.error("%s: %s; %s serves instead", deployment, reason, INSTEAD)
    figures.trouble(deployment.pk, reason, INSTEAD)


def _score(watched: Watched, first: int, last: int, historical: bool) -> None:
    since, until = _datetime(first), _datetime(last + memory_us(watched.served.artifact) + watched.patience_us)
    before = Anomaly.objects.filter(asset=watched.asset, end__gte=since, start__lte=until)
    for anomaly in before.exclude(circumstances=Circumstances.WITHDRAWN).select_related("sensor__asset__site", "alert"):
        _weigh_again(watched, anomaly, historical)
    measure = _measure(watched, first, last)
    if measure is None:
        return
    if not historical:
        # Nothing before the resolution of an alert counts.
        measure.scores[measure.timestamps <= _settled_after(watched.asset)] = np.nan
    for event in find_events(measure, first, _look(watched)):
        recording.record_of_asset(watched.asset, watched.sensors, event, historical)


def _weigh_again(watched: Watched, anomaly: Anomaly, historical: bool) -> None:
    first, last, recorded = _us(anomaly.start), _us(anomaly.end), Circumstances(anomaly.circumstances)
    measure = _measure(watched, first, last)
    if measure is None:
        return
    measure.scores[measure.timestamps > last] = np.nan
    events = [event for event in find_events(measure, first, _look(watched)) if event.circumstances == recorded]
    if not events:
        # Work that was noted since then does not undo what was found.
        events = find_events(measure, first, partial(_always, recorded))
    recording.weigh_again(anomaly, events, LATE, historical)


def _always(circumstances: Circumstances, timestamps: NDArray[np.int64]) -> list[Circumstances]:
    return [circumstances] * len(timestamps)


def _look(watched: Watched) -> Look:
    return partial(circumstances_of_asset, next(iter(watched.sensors.values())).pk)


def _measure(watched: Watched, first: int, last: int) -> ByAsset | None:
    """The rows that readings from `first` to `last` have a part in, with as many on either side as events are found in;
    those before are NaN that rest on more than was read. None where there are none, or the model cannot bear them.
    """
    artifact, reach = watched.served.artifact, watched.reach_us
    series = _series(watched, first - reach - watched.patience_us, last + 2 * reach)
    frame = with_pauses(watched.grid.frame(series, _settled_until(series, watched.grid)), watched.grid.step_us)
    if not len(frame):
        return None
    try:
        measure = ByAsset(frame, artifact, watched.served.version.pk)
    except Exception:
        logger.exception("%s failed", watched.served.version)
        _trouble(watched.deployment, f"{watched.served.version} fails on the readings of its asset")
        return None
    # Means over less than they learned from are noisier: a machine that begins to send is listened to first.
    listening = artifact.model.context * watched.grid.step_us
    early = measure.timestamps - _begins(frame.timestamps, watched.grid.step_us) < listening
    measure.scores[early | (measure.timestamps < first - N * PAUSE_ROWS * watched.grid.step_us)] = np.nan
    return measure


def _begins(timestamps: NDArray[np.int64], step_us: int) -> NDArray[np.int64]:
    """For each row when the rows began that go on to it without a pause."""
    begins = np.flatnonzero(
        np.diff(timestamps, prepend=timestamps[0] - 2 * PAUSE_ROWS * step_us) > PAUSE_ROWS * step_us
    )
    found: NDArray[np.int64] = timestamps[begins][np.cumsum(np.isin(np.arange(len(timestamps)), begins)) - 1]
    return found


def _series(watched: Watched, begin: int, end: int) -> dict[str, Series]:
    """The readings of each channel, without those of sensors that were faulty at the time."""
    sensors = [sensor.pk for sensor in watched.sensors.values()]
    read = history.spans([Span(sensor, begin, end) for sensor in sensors], context=0)
    found = dict(zip(watched.sensors, read, strict=True))
    channel_of = {sensor.pk: channel for channel, sensor in watched.sensors.items()}
    for sensor, start, over in faults.distrusted_of(sensors, _datetime(begin), _datetime(end)):
        timestamps, values = found[channel_of[sensor]]
        keep = (timestamps < _us(start)) | (timestamps > (_us(over) if over else end))
        found[channel_of[sensor]] = timestamps[keep], values[keep]
    return found


def _settled_until(series: dict[str, Series], grid: Grid) -> int:
    """Up to here (microseconds UTC) every sensor that still sends has said what it says, if none is early."""
    lasts = {channel: int(timestamps[-1]) for channel, (timestamps, _) in series.items() if len(timestamps)}
    newest = max(lasts.values(), default=0)
    sending = {channel: last for channel, last in lasts.items() if last + grid.tolerances_us[channel] >= newest}
    # A slow one says nothing until its next reading is due.
    due = [last + grid.tolerances_us[channel] // MISSED_READINGS - grid.step_us for channel, last in sending.items()]
    return min([newest, *due])


def with_pauses(frame: Frame, step_us: int) -> Frame:
    """The frame with N - 1 rows of which nothing is known after each pause begins: events are not confirmed across."""
    pauses = np.flatnonzero(np.diff(frame.timestamps) > PAUSE_ROWS * step_us)
    places = np.repeat(pauses + 1, N - 1)
    later = np.tile(np.arange(1, N), len(pauses))
    timestamps = np.insert(frame.timestamps, places, np.repeat(frame.timestamps[pauses], N - 1) + later)
    return Frame(timestamps, np.insert(frame.values, places, np.nan, axis=0), frame.channels)


def _settled_after(asset: Asset) -> int:
    """From when on (microseconds UTC) readings may open a new event: a moment after the last alert was resolved."""
    recently = timezone.now() - timedelta(seconds=settings.LATE_AFTER_SECONDS) - SETTLING
    resolved = Alert.objects.filter(dedup_key=recording.cause_of_asset(asset.pk), resolved_at__gt=recently)
    resolved = resolved.filter(withdrawal.still_founded(), historical=False, normal_since=None)
    last = resolved.aggregate(last=Max("resolved_at"))["last"]
    return _us(last + SETTLING) if last else 0


def _touching(stretches: list[tuple[int, int, int]], gap_us: int = SPAN_GAP_US) -> list[tuple[int, int, int]]:
    """(asset, first, last) in order; those of an asset that are no further apart than `gap_us` are one."""
    joined: list[tuple[int, int, int]] = []
    for asset, first, last in sorted(stretches):
        if joined and joined[-1][0] == asset and first <= joined[-1][2] + gap_us:
            joined[-1] = asset, joined[-1][1], max(last, joined[-1][2])
        else:
            joined.append((asset, first, last))
    return joined


def _us(at: datetime) -> int:
    return round(at.timestamp() * 1e6)


def _datetime(us: np.int64 | int) -> datetime:
    return datetime.fromtimestamp(int(us) / 1e6, UTC)
