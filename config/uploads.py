"""Who may send a whole file: asked before its first byte is taken, so that strangers cannot fill the disk."""

from io import BytesIO
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIRequest
from django.utils.module_loading import import_string

from sensors.access import authenticate_key


async def may_upload(scope: dict[str, Any]) -> bool:
    """Whether the request's session or key is somebody's who may import files. The view asks again, and more."""
    allowed: bool = await database_sync_to_async(_is_allowed)(scope)
    return allowed


def _is_allowed(scope: dict[str, Any]) -> bool:
    user = _user_of(ASGIRequest(scope, BytesIO()))
    return user is not None and user.has_perm("sensors.add_import")


def _user_of(request: ASGIRequest) -> User | None:
    key = request.headers.get("X-API-Key")
    if key is not None:
        principal = authenticate_key(key)
        return principal.user if principal else None
    session = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    if not session:
        return None
    request.session = import_string(f"{settings.SESSION_ENGINE}.SessionStore")(session)
    user = get_user(request)
    return user if isinstance(user, User) else None
