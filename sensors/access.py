"""Who may do what through the API: keys of programs, and the permissions and scopes every view asks for."""

import math
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import Permission, User
from django.db.models import Q, QuerySet
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from sensors import limits
from sensors.errors import Refused
from sensors.models import ApiKey, Site
from sensors.querysets import Viewer

if TYPE_CHECKING:
    # rest_framework.views imports this module through the settings.
    from rest_framework.views import APIView

# A revoked key, a deactivated user and a changed role act after this time at the latest.
CACHE_SECONDS = 2
# Bounds what a flood of invented keys can occupy; keys in use stay, because the least recently used go first.
CACHED_KEYS = 1024


@dataclass(frozen=True, kw_only=True)
class Sender:
    """For whom readings are stored.

    Only sensors that `user` sees are known; `site_id` narrows them to one site, which is also where unknown sensors are
    created when it `discovers` them. Without it, that is the only site of the user, if there is just one.
    """

    user: Viewer
    key_id: int | None = None
    site_id: int | None = None
    discovers: bool = False


@dataclass(frozen=True, kw_only=True)
class Principal(Sender):
    """A program that showed a valid key: whom it acts for, and what the key allows."""

    user: User
    scopes: frozenset[str]
    permissions: frozenset[str]
    requests_per_second: int


def authenticate_key(key: str) -> Principal | None:
    """The holder of `key`, or None when it is unknown, revoked or its user is not active.

    Looked up once per key in CACHE_SECONDS and process. The user is shared between requests and must not be changed.
    """
    digest = ApiKey.digest_of(key)
    known, principal = _recent(digest)
    if not known:
        principal = _look_up(digest)
        with _lock:
            _principals[digest] = (time.monotonic() + CACHE_SECONDS, principal)
            if len(_principals) > CACHED_KEYS:
                _principals.popitem(last=False)
    return principal


def recent_principal(key: str) -> tuple[bool, Principal | None]:
    """Whether the key was looked up lately, and its holder: for callers that must not wait for the database."""
    return _recent(ApiKey.digest_of(key))


_principals: OrderedDict[str, tuple[float, Principal | None]] = OrderedDict()
_lock = threading.Lock()


def _recent(digest: str) -> tuple[bool, Principal | None]:
    with _lock:
        expires, principal = _principals.get(digest, (0.0, None))
        if expires < time.monotonic():
            return False, None
        _principals.move_to_end(digest)
        return True, principal


def _look_up(digest: str) -> Principal | None:
    row = ApiKey.objects.usable().select_related("user").filter(digest=digest).first()
    if row is None:
        return None
    return Principal(
        user=row.user,
        key_id=row.pk,
        site_id=row.site_id,
        discovers=row.discovers,
        scopes=frozenset(row.scopes),
        permissions=frozenset(row.user.get_all_permissions()),
        requests_per_second=row.requests_per_second,
    )


def permissions_beyond(user: User) -> QuerySet[Permission]:
    """The permissions that `user` does not have."""
    if user.is_superuser:
        return Permission.objects.none()
    own = user.get_all_permissions()
    rows = Permission.objects.values_list("pk", "content_type__app_label", "codename")
    return Permission.objects.filter(pk__in=[pk for pk, app, codename in rows if f"{app}.{codename}" not in own])


def users_within_rights_of(user: User) -> QuerySet[User]:
    """Those who may do nothing that `user` may not: who acts in their name gains nothing. Inactive ones included."""
    if user.is_superuser:
        return User.objects.all()
    beyond = permissions_beyond(user)
    return (
        User.objects.filter(is_superuser=False)
        .exclude(user_permissions__in=beyond)
        .exclude(groups__permissions__in=beyond)
    )


def people_who_may(codename: str, site: Site | int) -> QuerySet[User]:
    """Active users who have a permission by their roles and see the site; superusers may everything."""
    may = Q(groups__permissions__codename=codename) | Q(is_superuser=True)
    everywhere = Q(groups__permissions__codename="view_all_sites") | Q(is_superuser=True)
    able = User.objects.filter(may, is_active=True)
    seeing = User.objects.filter(Q(sites=site) | everywhere)
    return User.objects.filter(pk__in=able.values("pk")).filter(pk__in=seeing.values("pk")).order_by("username")


def key_in(api_key: str | None, authorization: str | None) -> str | None:
    """The key that the two headers show, if any.

    >>> key_in(None, "Token sm_1"), key_in("sm_2", None), key_in(None, "Basic eDp5")
    ('sm_1', 'sm_2', None)
    """
    if api_key is not None:
        return api_key
    scheme, _, key = (authorization or "").partition(" ")
    return key.strip() if scheme.lower() in ("token", "bearer") else None


def require_rate(principal: Principal) -> None:
    """Count a request of a key; raises Refused (429) when it has made too many."""
    if wait := limits.keys.wait(principal.key_id, principal.requests_per_second):
        detail = f"This API key may make {principal.requests_per_second} requests a second; send more readings in each."
        raise Refused("too_many_requests", detail, 429, retry_after_seconds=math.ceil(wait))


class ApiKeyAuthentication(BaseAuthentication):
    """Programs show their key in the `X-API-Key` header, or as `Authorization: Token ...` (InfluxDB's clients) or
    `Bearer ...`; it needs no CSRF token, as browsers never send these unasked.
    """

    def authenticate(self, request: Request) -> tuple[User, Principal] | None:
        key = key_in(request.headers.get("X-API-Key"), request.headers.get("Authorization"))
        if key is None:
            return None
        principal = authenticate_key(key)
        if principal is None:
            raise AuthenticationFailed("This API key is unknown or revoked.", code="invalid_api_key")
        require_rate(principal)
        return principal.user, principal

    def authenticate_header(self, request: Request) -> str:
        # Its presence makes DRF answer 401 instead of 403 to callers without credentials.
        return "X-API-Key"


class ModelPermissions(BasePermission):
    """The caller is known, has the permission, and their key has the scope.

    The permission is `view_`, `add_`, `change_` or `delete_` of the view's model by method, unless the view or action
    names `required_permissions`. A key needs the scope `read` for safe methods and `write` for others, unless the view
    names `required_scope`. Sessions have no scopes.
    """

    verbs = {"POST": "add", "PUT": "change", "PATCH": "change", "DELETE": "delete"}

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if not request.user.is_authenticated:
            return False
        if isinstance(request.auth, Principal):
            self._require_scope(request.auth, request, view)
        return request.user.has_perms(self._required_permissions(request, view))

    def _require_scope(self, principal: Principal, request: Request, view: "APIView") -> None:
        default = ApiKey.Scope.READ if request.method in SAFE_METHODS else ApiKey.Scope.WRITE
        scope = getattr(view, "required_scope", None) or default
        if scope not in principal.scopes:
            raise PermissionDenied(f"This API key lacks the scope '{scope}'.", code="scope_missing")

    def _required_permissions(self, request: Request, view: "APIView") -> tuple[str, ...]:
        named: tuple[str, ...] | None = getattr(view, "required_permissions", None)
        if named is not None:
            return named
        queryset: Any = getattr(view, "queryset", None)
        assert queryset is not None, f"{type(view).__name__} names neither a queryset nor required_permissions."
        verb = self.verbs.get(request.method or "", "view")
        return (f"{queryset.model._meta.app_label}.{verb}_{queryset.model._meta.model_name}",)
