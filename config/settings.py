"""All settings, read from the environment.

Every variable is named in `.env.example` with its default and meaning. A value that cannot be read stops the start with
the variable's name and what is wrong with it; several wrong ones are listed together.
"""

import importlib.util
from pathlib import Path

import dj_database_url
from celery.schedules import crontab
from django_guid.integrations import CeleryIntegration
from environs import Env, validate

from config.storage import files_storage
from sensors import embedded

BASE_DIR = Path(__file__).resolve().parent.parent

env = Env(eager=False)
env.read_env(str(BASE_DIR / ".env"), recurse=False)

# Where this installation keeps its database, keys and logs.
STATE_DIR = (BASE_DIR / env.str("STATE_DIR", ".data")).resolve()
# Where the published data sets lie that tests and benchmarks read.
DATA_DIR = (BASE_DIR / env.str("DATA_DIR", "../shared/data")).resolve()

HOST = env.str("HOST", "127.0.0.1")
PORT = env.int("PORT", 8000, validate=validate.Range(min=1, max=65535))
DEBUG = env.bool("DEBUG", False)
DEMO = env.bool("DEMO", True)
HTTPS_ONLY = env.bool("HTTPS_ONLY", False)
SECRET_KEY = env.str("SECRET_KEY", "")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [])
DATABASE_URL = env.str("DATABASE_URL", "")
REDIS_URL = env.str("REDIS_URL", "")
# Empty: the server that `manage.py up` starts; "none": no registry, the built-in detector serves everything.
MLFLOW_TRACKING_URI = env.str("MLFLOW_TRACKING_URI", "")
# Where MLflow keeps model files; empty: STATE_DIR/artifacts.
MLFLOW_ARTIFACT_ROOT = env.str("MLFLOW_ARTIFACT_ROOT", "")
# Where workers keep copies of model files; empty: STATE_DIR/models.
_model_cache = env.str("MODEL_CACHE", "")
# Where photos and files of work orders are kept: a directory, or s3://bucket/prefix; empty: STATE_DIR/files.
FILES_ROOT = env.str("FILES_ROOT", "")
# The broker whose messages are stored; empty: none (sensors.mqtt).
MQTT_URL = env.str("MQTT_URL", "")
MQTT_TOPICS: list[str] = env.list("MQTT_TOPICS", ["plant/{site}/{sensor...}"]) or ["plant/{site}/{sensor...}"]
MQTT_USER = env.str("MQTT_USER", "mqtt")
MQTT_CLIENT_ID = env.str("MQTT_CLIENT_ID", "smart-maintenance")
LOG_LEVEL = env.str("LOG_LEVEL", "INFO", validate=validate.OneOf(["DEBUG", "INFO", "WARNING", "ERROR"]))
LOG_FORMAT = env.str("LOG_FORMAT", "json", validate=validate.OneOf(["json", "text"]))
# How many proxies of ours stand before the web process and add to X-Forwarded-For; 0 when it is reached directly.
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", 0, validate=validate.Range(min=0, max=10))
# A query that runs longer is given up; 0 lets it run. The web process sets 10 for itself (config.asgi).
STATEMENT_TIMEOUT_SECONDS = env.int("STATEMENT_TIMEOUT_SECONDS", 0, validate=validate.Range(min=0))
MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", 16 * 1024 * 1024, validate=validate.Range(min=1024))
# Requests a second to the API from one address; several gateways may share one. 0: no limit. Keys have their own.
ADDRESS_REQUESTS_PER_SECOND = env.int("ADDRESS_REQUESTS_PER_SECOND", 1000, validate=validate.Range(min=0))
# The largest file of readings that may be uploaded.
MAX_UPLOAD_BYTES = env.int("MAX_UPLOAD_BYTES", 1024**3, validate=validate.Range(min=1024))
WORKER_CONCURRENCY = env.int("WORKER_CONCURRENCY", 2, validate=validate.Range(min=1))
# Processes that answer questions to models, how long a caller waits for one, and the memory an answer may take.
PREDICT_PROCESSES = env.int("PREDICT_PROCESSES", 2, validate=validate.Range(min=0, max=64))
PREDICT_TIMEOUT_SECONDS = env.int("PREDICT_TIMEOUT_SECONDS", 10, validate=validate.Range(min=1, max=60))
PREDICT_MEMORY_MB = env.int("PREDICT_MEMORY_MB", 1024, validate=validate.Range(min=256))
# Readings of a lower quality are stored and shown, but neither scored nor learned from.
QUALITY_THRESHOLD = env.float("QUALITY_THRESHOLD", 0.8, validate=validate.Range(min=0, max=1))
# A reading from further ahead than this is refused: the sender's clock is wrong.
FUTURE_TOLERANCE_SECONDS = env.int("FUTURE_TOLERANCE_SECONDS", 300, validate=validate.Range(min=0))
# So many discovered sensors of a site may wait to be placed, and so many refused readings to be seen to.
DISCOVERY_LIMIT = env.int("DISCOVERY_LIMIT", 1000, validate=validate.Range(min=0))
QUARANTINE_LIMIT = env.int("QUARANTINE_LIMIT", 100_000, validate=validate.Range(min=0))
# An event that ended longer ago than this when its readings came in is history: recorded, nobody is told.
LATE_AFTER_SECONDS = env.int("LATE_AFTER_SECONDS", 3600, validate=validate.Range(min=1))
# Readings are kept for so many days, unless their sensor says otherwise; 0: for ever. Hourly summaries stay.
RETENTION_DAYS = env.int("RETENTION_DAYS", 180, validate=validate.Range(min=0, max=36_500))
# How long the record of a batch is kept once all work on it is done.
BATCH_RETENTION_DAYS = env.int("BATCH_RETENTION_DAYS", 7, validate=validate.Range(min=1, max=36_500))
# TimescaleDB only: what one chunk of readings spans, and the age at which it is compressed (0: never).
CHUNK_DAYS = env.int("CHUNK_DAYS", 1, validate=validate.Range(min=1, max=365))
COMPRESS_AFTER_DAYS = env.int("COMPRESS_AFTER_DAYS", 7, validate=validate.Range(min=0, max=36_500))
# How people outside reach this installation, for the links in messages; empty: http://HOST:PORT.
PUBLIC_URL = env.str("PUBLIC_URL", "")
# Encrypt what channels must keep secret, the newest first; empty: derived from SECRET_KEY (alerts.delivery.secrets).
SECRETS_KEYS: list[str] = env.list("SECRETS_KEYS", [])
# Networks of our own that webhooks and chat services may reach nevertheless, as 10.1.0.0/16.
WEBHOOK_ALLOW_PRIVATE: list[str] = env.list("WEBHOOK_ALLOW_PRIVATE", [])
email = env.dj_email_url("EMAIL_URL", "dummy://")
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", "Smart Maintenance <noreply@localhost>")
env.seal()

PUBLIC_URL = PUBLIC_URL or f"http://{HOST}:{PORT}"
SECRET_KEY = SECRET_KEY or embedded.local_secret_key(STATE_DIR)
# Uploads are written here as they come in, and stay until they are imported: nothing is copied.
UPLOAD_DIR = STATE_DIR / "imports"
UPLOAD_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)

INSTALLED_APPS = [
    "config.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "channels",
    "django_celery_beat",
    "django_filters",
    "django_guid",
    "django_htmx",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "rest_framework",
    "timezone_field",
    "sensors.apps.SensorsConfig",
    "alerts.apps.AlertsConfig",
    "maintenance.apps.MaintenanceConfig",
    "mlops.apps.MlopsConfig",
    # Last: it writes the roles once every other app's permissions exist.
    "config.apps.Config",
]

MIDDLEWARE = [
    "django_guid.middleware.guid_middleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Without DATABASE_URL and REDIS_URL the embedded servers under STATE_DIR are used (sensors.embedded).
_database = dj_database_url.parse(DATABASE_URL or embedded.database_url(STATE_DIR), engine="sensors.timescale")
_database["OPTIONS"] = {
    "pool": {"min_size": 1, "max_size": 16, "timeout": 10},
    "options": f"-c statement_timeout={STATEMENT_TIMEOUT_SECONDS}s",
    # What the address asks for, sslmode above all.
    **_database.get("OPTIONS", {}),
}
# A pool keeps connections that a restart of the server has broken; they are asked before they are used.
_database["CONN_HEALTH_CHECKS"] = True
DATABASES = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = REDIS_URL or embedded.redis_url(STATE_DIR)
MLFLOW_TRACKING_URI = {"": embedded.mlflow_url(STATE_DIR), "none": ""}.get(MLFLOW_TRACKING_URI, MLFLOW_TRACKING_URI)
MLFLOW_ARTIFACT_ROOT = MLFLOW_ARTIFACT_ROOT or str(STATE_DIR / "artifacts")
MODEL_CACHE = Path(_model_cache or STATE_DIR / "models")
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "sm",
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 2},
    }
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        # redis-py gives up on an idle socket after 5 s; the layer waits on idle sockets by design.
        "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None}], "prefix": "sm"},
    }
}

# Celery writes the address of a socket, and the number of its database, in its own way.
CELERY_BROKER_URL = REDIS_URL
if REDIS_URL.startswith("unix://"):
    CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=", 1)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_connect_timeout": 2, "socket_timeout": 10, "socket_keepalive": True}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CONCURRENCY = WORKER_CONCURRENCY
# Celery would close the whole pool before and after each task; config.celery sees to broken connections instead.
CELERY_DB_REUSE_MAX = 1_000_000_000
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
# What takes long and nobody waits for has a queue and a program of its own, so that it does not delay live readings.
BACKGROUND_QUEUE = "background"
CELERY_TASK_ROUTES: dict[str, dict[str, object]] = {
    task: {"queue": BACKGROUND_QUEUE}
    for task in (
        "config.tasks.background_heartbeat",
        "mlops.tasks.check_repairs",
        "mlops.tasks.forget_baselines",
        "mlops.tasks.name_champions",
        "mlops.tasks.resume_training",
        "sensors.tasks.audit_summaries",
        "sensors.tasks.drain_history",
        "sensors.tasks.forget_old_imports",
        "sensors.tasks.rebuild_summaries",
        "sensors.tasks.remove_old_rows",
        "sensors.tasks.resume_imports",
        "sensors.tasks.sweep_history",
        "sensors.tasks.take_turn",
    )
}
# Among these a training run, which takes a minute, comes last: the rest would wait for every run that was asked for.
# (On Redis 0 is the highest priority.)
for task in ("mlops.tasks.train", "mlops.tasks.make_demo_models"):
    CELERY_TASK_ROUTES[task] = {"queue": BACKGROUND_QUEUE, "priority": 9}
# Messages to people wait for receivers; a program of its own sends them, so that one that hangs delays nothing else.
MESSAGES_QUEUE = "messages"
for task in ("alerts.tasks.deliver", "alerts.tasks.deliver_by", "config.tasks.messages_heartbeat"):
    CELERY_TASK_ROUTES[task] = {"queue": MESSAGES_QUEUE}
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 1
CELERY_BEAT_SCHEDULE = {
    "sweep the outbox": {"task": "sensors.tasks.sweep", "schedule": 1.0, "options": {"expires": 2}},
    "sweep history": {"task": "sensors.tasks.sweep_history", "schedule": 1.0, "options": {"expires": 2}},
    "compute summaries": {"task": "sensors.tasks.rebuild_summaries", "schedule": 5.0, "options": {"expires": 5}},
    "audit summaries": {"task": "sensors.tasks.audit_summaries", "schedule": crontab(hour="3", minute="10")},
    "remove old rows": {"task": "sensors.tasks.remove_old_rows", "schedule": crontab(minute="20")},
    "forget old baselines": {"task": "mlops.tasks.forget_baselines", "schedule": crontab(hour="3", minute="40")},
    "resume imports": {"task": "sensors.tasks.resume_imports", "schedule": 10.0, "options": {"expires": 10}},
    "forget old imports": {
        "task": "sensors.tasks.forget_old_imports",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "heartbeat": {"task": "config.tasks.heartbeat", "schedule": 5.0, "options": {"expires": 5}},
    "heartbeat of background work": {
        "task": "config.tasks.background_heartbeat",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    "learn profiles": {"task": "sensors.tasks.learn_profiles", "schedule": 10.0, "options": {"expires": 10}},
    "look for sensor faults": {"task": "sensors.tasks.look_for_faults", "schedule": 10.0, "options": {"expires": 10}},
    "alert of sensor faults": {"task": "alerts.tasks.alert_of_faults", "schedule": 5.0, "options": {"expires": 5}},
    "settle alerts": {"task": "alerts.tasks.settle", "schedule": 5.0, "options": {"expires": 5}},
    "tell of alerts": {"task": "alerts.tasks.tell", "schedule": 1.0, "options": {"expires": 2}},
    "climb escalations": {"task": "alerts.tasks.climb", "schedule": 1.0, "options": {"expires": 2}},
    "send messages": {"task": "alerts.tasks.deliver", "schedule": 1.0, "options": {"expires": 2}},
    "heartbeat of messages": {"task": "config.tasks.messages_heartbeat", "schedule": 5.0, "options": {"expires": 5}},
    "score assets": {"task": "mlops.tasks.score_assets", "schedule": 1.0, "options": {"expires": 2}},
    "follow plans": {"task": "maintenance.tasks.follow_plans", "schedule": 20.0, "options": {"expires": 20}},
    "check repairs": {"task": "mlops.tasks.check_repairs", "schedule": 300.0, "options": {"expires": 300}},
    "make reports": {"task": "maintenance.tasks.make_reports", "schedule": 60.0, "options": {"expires": 60}},
    "resume training": {"task": "mlops.tasks.resume_training", "schedule": 30.0, "options": {"expires": 30}},
    "set anomalies of faulty sensors aside": {
        "task": "mlops.tasks.set_faulty_aside",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
}
CELERY_TIMEZONE = "UTC"

# Who works on stored batches: name in the outbox -> function that takes a list of batches (sensors.outbox).
OUTBOX_CONSUMERS = {
    "score": "mlops.scoring.score_batches",
    "limits": "alerts.rules.checking.check",
    "watch": "sensors.profiles.hear",
    "summarise": "sensors.summary.summarise",
}
# Who is told at once that batches wait; the others find them within a second.
OUTBOX_URGENT = ("score",)

AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "sensors:overview"
ACCOUNT_ADAPTER = "config.accounts.ClosedSignupAdapter"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
# Changing the address or password asks for the password again: a borrowed session must not become an account.
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ALLAUTH_TRUSTED_PROXY_COUNT = TRUSTED_PROXIES
ACCOUNT_LOGOUT_REDIRECT_URL = LOGIN_URL
# Admins make the accounts and know the addresses; mail may not even be set up.
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
EMAIL_BACKEND = email["EMAIL_BACKEND"]
EMAIL_HOST, EMAIL_PORT = email["EMAIL_HOST"], email["EMAIL_PORT"]
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = email["EMAIL_HOST_USER"], email["EMAIL_HOST_PASSWORD"]
EMAIL_USE_TLS, EMAIL_USE_SSL = email["EMAIL_USE_TLS"], email["EMAIL_USE_SSL"]
EMAIL_TIMEOUT = 10

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
DATETIME_FORMAT, DATE_FORMAT, TIME_FORMAT = "Y-m-d H:i", "Y-m-d", "H:i"

STATIC_URL = "/static/"
STATIC_ROOT = STATE_DIR / "static"
_plotly = importlib.util.find_spec("plotly")
STATICFILES_DIRS = [
    BASE_DIR / "static",
    *([("plotly", Path(_plotly.origin).parent / "package_data")] if _plotly and _plotly.origin else []),
]
# Files that people add to assets and work orders; no address leads there, views hand them out.
STORAGES = {
    "default": files_storage(FILES_ROOT, STATE_DIR / "files"),
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "sensors.access.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["sensors.access.ModelPermissions"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "config.api.NewestFirst",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "config.api.error_response",
    "PAGE_SIZE": 100,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Smart Maintenance",
    "DESCRIPTION": "Readings in; assets, alerts and work orders out.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    # Fields of several models share these names; each gets a name of its own in the document.
    "ENUM_NAME_OVERRIDES": {
        "SensorKind": "sensors.units.Kind",
        "SensorStatus": "sensors.models.Sensor.Status",
        "ImportState": "sensors.models.Import.State",
        "SensorFaultKind": "sensors.models.SensorFault.Kind",
        "AlertKind": "alerts.models.Alert.Kind",
        "AlertState": "alerts.models.State",
        "AlertSeverity": "alerts.models.Severity",
        "ChannelKind": "alerts.models.Channel.Kind",
        "DeliveryKind": "alerts.models.Delivery.Kind",
        "DeliveryState": "alerts.models.Delivery.State",
        "WorkState": ["waiting", "dead", "done"],
        "WorkOrderKind": "maintenance.models.WorkOrder.Kind",
        "WorkOrderState": "maintenance.models.WorkOrder.State",
    },
}

DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
FILE_UPLOAD_TEMP_DIR = UPLOAD_DIR
# The mapping of a file with many columns is a form with three fields for each.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000
SECURE_SSL_REDIRECT = HTTPS_ONLY
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS_ONLY else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS_ONLY else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS_ONLY
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS_ONLY
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "config.errors.csrf_failure"
X_FRAME_OPTIONS = "DENY"

DJANGO_GUID = {
    "GUID_HEADER_NAME": "X-Request-ID",
    "RETURN_HEADER": True,
    "VALIDATE_GUID": True,
    "UUID_LENGTH": 32,
    # The request id travels into the tasks a request caused, and into their log lines.
    "INTEGRATIONS": [CeleryIntegration(use_django_logging=True, log_parent=False)],
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "django_guid.log_filters.CorrelationId", "correlation_id_field": "request_id"}},
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "%(asctime)s %(levelname)s %(name)s %(request_id)s %(message)s",
            "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
        },
        "text": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s", "datefmt": "%H:%M:%S"},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["request_id"]},
    },
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        "django_guid": {"level": "WARNING"},
        "django.utils.autoreload": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "celery.worker.request": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        # Tells five lines of every explanation.
        "shap": {"level": "WARNING"},
    },
}
