"""What the detectors learned, which models serve what, and what was found."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from alerts.models import Alert
from maintenance.models import WorkOrder
from mlops.querysets import (
    AnomalyQuerySet,
    BaselineQuerySet,
    DeploymentQuerySet,
    ModelVersionQuerySet,
    RepairCheckQuerySet,
    TrainingRunQuerySet,
    UnscoredStretchQuerySet,
    ValidationPolicyQuerySet,
)
from sensors.models import Asset, Sensor, Site
from sensors.units import Kind

SHARE = [MinValueValidator(0.0), MaxValueValidator(1.0)]


class Baseline(models.Model):
    """What was normal for a sensor just before `valid_from`; never changed once written, so that scores repeat.

    Values are in the sensor's unit. `hour_offsets` holds, for each UTC hour 0..23, how far the level of that hour lies
    from `median`; it is empty where the history shows no daily pattern.
    """

    sensor = models.ForeignKey(Sensor, on_delete=models.CASCADE, related_name="baselines")
    valid_from = models.DateTimeField()
    readings = models.PositiveIntegerField()
    span_seconds = models.FloatField()
    median = models.FloatField(null=True)
    spread = models.FloatField(null=True, help_text="Robust standard deviation: 1.4826 x median absolute deviation.")
    hour_offsets = ArrayField(models.FloatField(), default=list)

    objects = BaselineQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["sensor", "valid_from"], name="baseline_once_per_block")]

    def __str__(self) -> str:
        return f"{self.sensor} from {self.valid_from:%Y-%m-%d %H:%M}"


class ValidationPolicy(models.Model):
    """How a site weighs anomalies; without a row the standard preset holds."""

    class Preset(models.TextChoices):
        STANDARD = "standard"
        STRICT = "strict", "strict: fewer alerts"
        FAST = "fast", "fast: earlier, more alerts"
        OWN = "own", "own values"

    site = models.OneToOneField(Site, on_delete=models.CASCADE, related_name="validation_policy")
    preset = models.CharField(max_length=10, choices=Preset.choices, default=Preset.STANDARD)
    credible = models.FloatField(
        default=0.7, validators=SHARE, help_text="Own values: confidence from which an anomaly is believed."
    )
    false_positive = models.FloatField(
        default=0.4, validators=SHARE, help_text="Own values: confidence below which it is taken for a false alarm."
    )
    stability_window = models.PositiveSmallIntegerField(
        default=5,
        validators=[MinValueValidator(3), MaxValueValidator(100)],
        help_text="Own values: so many readings before an event tell whether the signal was stable.",
    )
    recurrence_share = models.FloatField(
        default=0.25,
        validators=SHARE,
        help_text="Own values: an event is doubted when so much of the judged past was like it and nothing.",
    )
    history_limit = models.PositiveSmallIntegerField(
        default=20,
        validators=[MinValueValidator(2), MaxValueValidator(500)],
        help_text="Own values: so many of a sensor's judged events are looked back on.",
    )

    objects = ValidationPolicyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "validation policies"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(false_positive__lte=models.F("credible")), name="doubt_below_belief"
            )
        ]

    def __str__(self) -> str:
        return f"{self.site}: {self.preset}"


class Anomaly(models.Model):
    """A stretch of time in which a sensor, or an asset as a whole, was not normal, and what validation made of it.

    With an `asset`, its sensors together said so, and `sensor` is the one that had most to do with it.
    """

    class Decision(models.TextChoices):
        CREDIBLE = "credible_anomaly", "credible anomaly"
        FURTHER = "further_investigation_needed", "further investigation needed"
        FALSE_POSITIVE = "false_positive_suspected", "false positive suspected"
        INSUFFICIENT = "insufficient_data", "insufficient data"
        ERROR = "validation_error", "validation error"

    class Circumstances(models.TextChoices):
        NORMAL = "normal"
        WORK = "work", "work on the asset"
        FAULTY = "faulty", "faulty sensor"
        NEW = "new", "new sensor"
        WITHDRAWN = "withdrawn"

    sensor = models.ForeignKey(Sensor, on_delete=models.PROTECT, related_name="anomalies")
    asset = models.ForeignKey(
        Asset,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="own_anomalies",
        help_text="Empty for what a sensor shows alone.",
    )
    alert = models.ForeignKey(Alert, on_delete=models.SET_NULL, null=True, blank=True, related_name="anomalies")
    start = models.DateTimeField()
    end = models.DateTimeField()
    peak_at = models.DateTimeField()
    peak_value = models.FloatField()
    peak_score = models.FloatField(
        help_text="Distance from normal in robust standard deviations, or in limits of the model that said so."
    )
    historical = models.BooleanField(default=False)
    circumstances = models.CharField(
        max_length=10,
        choices=Circumstances.choices,
        default=Circumstances.NORMAL,
        help_text="Events under different circumstances are different events.",
    )
    decision = models.CharField(max_length=30, choices=Decision.choices)
    confidence = models.FloatField()
    evidence = models.JSONField(default=dict, blank=True)

    objects = AnomalyQuerySet.as_manager()

    class Meta:
        ordering = ["-start", "-pk"]
        verbose_name_plural = "anomalies"
        indexes = [
            models.Index(fields=["sensor", "-end"], name="anomaly_newest_of_sensor"),
            models.Index(fields=["asset", "-end"], condition=Q(asset__isnull=False), name="anomaly_newest_of_asset"),
        ]

    def __str__(self) -> str:
        return f"{self.asset or self.sensor} {self.start:%Y-%m-%d %H:%M}"

    @property
    def distance(self) -> str:
        """The peak's distance from normal, with its unit."""
        return f"{self.peak_score:.1f} {'× limit' if 'model' in self.evidence else 'σ'}"


class UnscoredStretch(models.Model):
    """Readings of an asset, from `start` to `end`, that the model of the asset has not seen yet."""

    asset = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="+")
    start = models.DateTimeField()
    end = models.DateTimeField()
    historical = models.BooleanField()

    objects = UnscoredStretchQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.asset} {self.start:%Y-%m-%d %H:%M}"


class Purpose(models.TextChoices):
    """What a model is asked for."""

    SENSOR_ANOMALY = "sensor_anomaly", "anomalies of a sensor"
    ASSET_ANOMALY = "asset_anomaly", "anomalies of an asset"
    FAILURE = "failure", "failures of an asset"


class ModelVersion(models.Model):
    """A trained model as it lies in the registry, and the digest without which nobody unpickles it.

    Rows never change. MLflow knows more (runs, parameters, plots); what serving needs stands here, so that it does not
    depend on MLflow's database. Without a site, the model learned from several or from none of them.
    """

    name = models.CharField(max_length=200)
    version = models.PositiveIntegerField()
    purpose = models.CharField(max_length=20, choices=Purpose.choices)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, null=True, blank=True, related_name="model_versions")
    run_id = models.CharField(max_length=64)
    path = models.CharField(max_length=500, help_text="Of the artifact, below the root of MLflow's artifacts.")
    sha256 = models.CharField(max_length=64)
    size_bytes = models.PositiveBigIntegerField()
    metrics = models.JSONField(default=dict, blank=True)
    tags = models.JSONField(default=dict, blank=True)
    card = models.JSONField(default=dict, blank=True, help_text="What the version's page shows (mlops.cards).")
    features = models.JSONField(default=list, blank=True, help_text="Its inputs by name, in order.")
    example = models.JSONField(default=dict, blank=True, help_text="What its inputs usually are: their medians.")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ModelVersionQuerySet.as_manager()

    class Meta:
        ordering = ["name", "-version"]
        permissions = [
            ("open_mlflow", "Can open MLflow's own pages"),
            ("predict_modelversion", "Can have models answer for rows of their own"),
        ]
        constraints = [models.UniqueConstraint(fields=["name", "version"], name="model_version_once")]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"

    @property
    def subject(self) -> str:
        """The sensor or asset it was learned from, where its tags say so."""
        return str(self.tags.get("sensor_id") or self.tags.get("asset") or "")


class Deployment(models.Model):
    """Which model version serves a sensor, an asset, or a kind of sensors (of one site, or of all), since when and why.

    One at most is in service per scope and purpose. `rejected` says that it was taken back, and not only replaced by a
    newer one: it never serves again in the newer one's place.
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="deployments")
    purpose = models.CharField(max_length=20, choices=Purpose.choices)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, null=True, blank=True, related_name="deployments")
    sensor = models.ForeignKey(Sensor, on_delete=models.PROTECT, null=True, blank=True, related_name="deployments")
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, null=True, blank=True, related_name="deployments")
    kind = models.CharField(max_length=20, choices=Kind.choices, blank=True)
    since = models.DateTimeField()
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    why = models.CharField(max_length=500)
    until = models.DateTimeField(null=True, blank=True)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    ended_why = models.CharField(max_length=500, blank=True)
    rejected = models.BooleanField(default=False)

    objects = DeploymentQuerySet.as_manager()

    class Meta:
        ordering = ["-since", "-pk"]
        constraints = [
            models.CheckConstraint(
                name="deployment_has_one_scope",
                condition=Q(sensor__isnull=False, asset__isnull=True, kind="", site__isnull=False)
                | Q(sensor__isnull=True, asset__isnull=False, kind="", site__isnull=False)
                | Q(sensor__isnull=True, asset__isnull=True) & ~Q(kind=""),
            ),
            models.UniqueConstraint(
                fields=["purpose", "sensor"],
                condition=Q(until__isnull=True, sensor__isnull=False),
                name="one_deployment_per_sensor",
            ),
            models.UniqueConstraint(
                fields=["purpose", "asset"],
                condition=Q(until__isnull=True, asset__isnull=False),
                name="one_deployment_per_asset",
            ),
            models.UniqueConstraint(
                fields=["purpose", "kind", "site"],
                condition=Q(until__isnull=True) & ~Q(kind=""),
                nulls_distinct=False,
                name="one_deployment_per_kind",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version} for {self.scope_label()}"

    def scope_label(self) -> str:
        """The scope as a person would name it."""
        if self.sensor or self.asset:
            return str(self.sensor or self.asset)
        return f"every {self.get_kind_display().lower()} sensor" + (f" of {self.site}" if self.site else "")


class TrainingRun(models.Model):
    """Somebody asked for a model of a sensor or of an asset; how far that is and what came of it. What serves is left
    as it is until a better model is registered.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    UNFINISHED = (State.WAITING, State.RUNNING)

    sensor = models.ForeignKey(Sensor, on_delete=models.PROTECT, null=True, blank=True, related_name="training_runs")
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, null=True, blank=True, related_name="training_runs")
    purpose = models.CharField(max_length=20, choices=Purpose.choices, default=Purpose.SENSOR_ANOMALY)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    said = models.CharField(max_length=500, blank=True, help_text="The step it is at, or what came of it.")
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    asked_at = models.DateTimeField(auto_now_add=True)
    # Renewed with every step: one that has said nothing for long lost its worker.
    told_at = models.DateTimeField(auto_now=True)
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    objects = TrainingRunQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                name="training_of_a_sensor_or_an_asset",
                condition=Q(sensor__isnull=False, asset__isnull=True, purpose=Purpose.SENSOR_ANOMALY)
                | Q(sensor__isnull=True, asset__isnull=False) & ~Q(purpose=Purpose.SENSOR_ANOMALY),
            ),
            models.UniqueConstraint(
                fields=["sensor"], condition=Q(state__in=("waiting", "running")), name="one_training_at_a_time"
            ),
            models.UniqueConstraint(
                fields=["asset", "purpose"],
                condition=Q(state__in=("waiting", "running")),
                name="one_training_of_an_asset_at_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.of} {self.asked_at:%Y-%m-%d %H:%M}"

    @property
    def of(self) -> Sensor | Asset:
        """What the model is of."""
        of = self.sensor or self.asset
        assert of is not None
        return of

    @property
    def is_at_work(self) -> bool:
        return self.state in self.UNFINISHED


class RepairCheck(models.Model):
    """Whether a closed job did its work, by the signals before and after it (`mlops.repairs`); `answer` is empty while
    it waits for readings. `evidence` holds what each sensor says and its hourly medians for the charts.
    """

    class Answer(models.TextChoices):
        FIXED = "fixed"
        UNCHANGED = "unchanged"
        WORSE = "worse"
        CANNOT_TELL = "cannot_tell", "can't tell"

    order = models.OneToOneField(WorkOrder, on_delete=models.CASCADE, related_name="repair_check")
    due_at = models.DateTimeField(null=True, help_text="When to look (again); empty once it is answered.")
    answer = models.CharField(max_length=12, choices=Answer.choices, blank=True)
    reason = models.CharField(max_length=2000, blank=True)
    evidence = models.JSONField(default=dict, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)

    objects = RepairCheckQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="repair_check_due")]

    def __str__(self) -> str:
        return f"{self.order}: {self.get_answer_display() or 'waiting'}"
