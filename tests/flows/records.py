"""Records that a platform under test needs before somebody can send to it and look at it."""

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Group, User
from django.contrib.sessions.backends.db import SessionStore

from sensors.models import ApiKey, Asset, Sensor, Site


def plant_with_sensors(count: int) -> tuple[Site, list[str]]:
    """A site with one machine that carries `count` temperature sensors."""
    site = Site.objects.create(name="Load")
    machine = Asset.objects.create(site=site, name="Machine")
    sensor_ids = [f"load.{number}" for number in range(count)]
    Sensor.objects.bulk_create(
        Sensor(site=site, asset=machine, sensor_id=sensor_id, kind="temperature", unit="°C") for sensor_id in sensor_ids
    )
    return site, sensor_ids


def key_and_viewer(site: Site) -> tuple[str, str]:
    """A key that may send readings of the site, and the session cookie of a logged-in viewer."""
    program, viewer = (User.objects.create_user(name) for name in ("program", "viewer"))
    program.groups.add(Group.objects.get(name="integration"))
    viewer.groups.add(Group.objects.get(name="viewer"))
    site.members.add(program, viewer)
    _, key = ApiKey.issue(program, "load", [ApiKey.Scope.INGEST])
    return key, session_cookie(viewer)


def session_cookie(user: User) -> str:
    """The session cookie of a user who is logged in."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return str(session.session_key)
