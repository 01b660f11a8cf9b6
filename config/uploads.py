"""Who may send a whole file: asked before its first byte is taken, so that strangers cannot fill the disk."""

from io import BytesIO
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIRequest
from django.db import InterfaceError, connection
from django.utils.module_loading import import_string

from sensors.access import authenticate_key, key_in
from sensors.doors.intake import database_in_reach
from sensors.errors import Refused
from sensors.models import ApiKey


async def may_upload(scope: dict[str, Any]) -> bool:
    """Whether the request's session or key is somebody's who may send files there. The view asks again, and more.

    Raises Refused (503) while the database is in trouble.
    """
    allowed: bool = await database_sync_to_async(_is_allowed)(scope)
    return allowed


def _is_allowed(scope: dict[str, Any]) -> bool:
    try:
        with database_in_reach():
            user = _user_of(ASGIRequest(scope, BytesIO()))
            return user is not None and user.has_perm(_needed(scope["path"]))
    except InterfaceError as error:  # The connection was broken before it was asked.
        connection.close()
        raise Refused("database_busy", "The database does not answer; send the request again.", 503) from error


def _needed(path: str) -> str:
    if path.endswith("/documents/"):
        return "sensors.add_assetdocument"
    if path.endswith(("/attach/", "/attachments/")):
        return "maintenance.change_workorder"
    return "sensors.add_import"


def _user_of(request: ASGIRequest) -> User | None:
    key = key_in(request.headers.get("X-API-Key"), request.headers.get("Authorization"))
    if key is not None:
        principal = authenticate_key(key)
        return principal.user if principal and ApiKey.Scope.WRITE in principal.scopes else None
    session = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    if not session:
        return None
    request.session = import_string(f"{settings.SESSION_ENGINE}.SessionStore")(session)
    user = get_user(request)
    return user if isinstance(user, User) else None
