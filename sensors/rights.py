"""Whoever is taken off a site, loses a role, is deactivated or logs out, stops hearing of it at once.

Open pages are checked every 45 seconds anyway (`sensors.consumers`); what is listened for here only makes it quicker.
"""

from typing import Any

from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_out
from django.db.models.signals import m2m_changed, post_save
from django.dispatch import receiver

from sensors import live
from sensors.models import Site


@receiver(m2m_changed, sender=Site.members.through)
def _members_changed(action: str, instance: Site | User, pk_set: set[int] | None, reverse: bool, **_: Any) -> None:
    if isinstance(instance, User):
        live.rights_changed([instance.pk])
    elif action in ("post_add", "post_remove"):
        live.rights_changed(pk_set or ())
    elif action == "pre_clear":
        live.rights_changed(instance.members.values_list("pk", flat=True))


@receiver(m2m_changed, sender=User.groups.through)
@receiver(m2m_changed, sender=User.user_permissions.through)
def _roles_changed(instance: Any, pk_set: set[int] | None, reverse: bool, **_: Any) -> None:
    live.rights_changed((pk_set or ()) if reverse else [instance.pk])


@receiver(post_save, sender=User)
def _user_changed(instance: User, created: bool, update_fields: frozenset[str] | None, **_: Any) -> None:
    # A login says nothing about rights.
    if not created and set(update_fields or ()) != {"last_login"}:
        live.rights_changed([instance.pk])


@receiver(user_logged_out)
def _logged_out(user: User | None, **_: Any) -> None:
    if user is not None:
        live.rights_changed([user.pk])
