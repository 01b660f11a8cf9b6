# ruff: noqa: E402 - Django must have loaded the apps before anything else may be imported.
"""The web process's entry: HTTP goes to Django behind a body limit, WebSockets to the live pages."""

import multiprocessing
import os
import sys
import tempfile

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# A person or program waits for the web process's queries; a few endless ones would use up its connections.
os.environ.setdefault("STATEMENT_TIMEOUT_SECONDS", "10")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.conf import settings
from django.urls import path

from config.address_limit import AddressLimit
from config.body_limit import BodyLimit
from config.orphans import exit_when_orphaned
from config.uploads import may_upload
from mlops.prediction.door import PredictDoor
from sensors.consumers import LiveConsumer
from sensors.doors.asgi import FastDoor
from sensors.imports import ask_for_room

# A thread that comes back from the database waits so long at most for the one that has the interpreter; the default of
# 5 ms, several times in each request, is most of the time a small request takes.
sys.setswitchinterval(0.0005)

if multiprocessing.parent_process():
    # Django keeps a large body in a temporary file before it reads the form in it; files come in their gigabytes, and
    # /tmp may be memory.
    tempfile.tempdir = str(settings.UPLOAD_DIR)
    exit_when_orphaned()

application = ProtocolTypeRouter(
    {
        "http": AddressLimit(
            BodyLimit(
                FastDoor(PredictDoor(django_application)),
                settings.MAX_BODY_BYTES,
                settings.MAX_UPLOAD_BYTES,
                may_upload,
                ask_for_room,
            ),
            settings.ADDRESS_REQUESTS_PER_SECOND,
            settings.TRUSTED_PROXIES,
        ),
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(URLRouter([path("ws/live/", LiveConsumer.as_asgi())]))
        ),
    }
)
