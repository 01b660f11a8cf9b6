"""Secrets of channels (addresses with tokens, signing keys), encrypted before they are stored.

Fernet (AES-128-CBC with HMAC-SHA256) under keys derived from SECRETS_KEYS. The first one encrypts, every one decrypts:
a new key is put in front, `manage.py rotate_secrets` encrypts afresh, and then the old one can go.
"""

import json
from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class Unreadable(Exception):
    """Encrypted under a key that is not among SECRETS_KEYS any more, or changed since."""


def encrypt(values: dict[str, str]) -> str:
    """What to store of these values: text that says nothing without the key."""
    return _keys().encrypt(json.dumps(values).encode()).decode()


def decrypt(stored: str) -> dict[str, str]:
    """The values again; none for an empty text. Raises Unreadable."""
    if not stored:
        return {}
    try:
        values: dict[str, str] = json.loads(_keys().decrypt(stored.encode()))
    except InvalidToken as error:
        raise Unreadable("its secrets cannot be decrypted with SECRETS_KEYS; enter them again") from error
    return values


def encrypt_afresh(stored: str) -> str:
    """The same under the first of the keys. Raises Unreadable."""
    return encrypt(decrypt(stored)) if stored else ""


def _keys() -> MultiFernet:
    return MultiFernet([Fernet(_derived(key)) for key in settings.SECRETS_KEYS or [settings.SECRET_KEY]])


def _derived(key: str) -> bytes:
    """A Fernet key from a text of any length; SECRET_KEY itself signs sessions and must not be used for both."""
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"smart-maintenance.channel-secrets")
    return urlsafe_b64encode(derived.derive(key.encode()))
