"""The keys of programs."""

import hashlib
import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.postgres.fields import ArrayField
from django.db import models

from sensors.models.plant import Site
from sensors.querysets import ApiKeyQuerySet


class ApiKey(models.Model):
    """A program's way in, acting for `user` within `scopes`. Only a digest of the key is kept."""

    class Scope(models.TextChoices):
        INGEST = "ingest"
        READ = "read"
        WRITE = "write"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=10, editable=False, help_text="First characters, to tell keys apart.")
    digest = models.CharField(max_length=128, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=10, choices=Scope.choices))
    requests_per_second = models.PositiveIntegerField(
        default=100, help_text="Requests beyond this are told to wait (429), whatever they hold. 0: no limit."
    )
    site = models.ForeignKey(
        Site,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="api_keys",
        help_text="Where sensors it sends for are looked for and created. Empty: all sites of its user.",
    )
    discovers = models.BooleanField(
        default=True,
        help_text="Unknown sensors are created and wait to be placed; otherwise their readings are refused.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        verbose_name_plural = "API keys"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @staticmethod
    def digest_of(key: str) -> str:
        # A plain hash is enough for a random 256-bit key; a slow one would cost 0.4 s on every request.
        return hashlib.sha512(key.encode()).hexdigest()

    @classmethod
    def issue(cls, user: User, name: str, scopes: list[str], **options: Any) -> tuple["ApiKey", str]:
        """Create a key; the returned text is the only copy there will ever be. `options` are further fields."""
        key = f"sm_{secrets.token_urlsafe(32)}"
        about = {"user": user, "name": name, "scopes": scopes, **options}
        return cls.objects.create(prefix=key[:8], digest=cls.digest_of(key), **about), key
