"""Who can be told at all, and by which channels: people, their rights, wishes and addresses, as they are now."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet

from alerts.models import Channel, Contact, Preference


@dataclass(frozen=True)
class Person:
    """Somebody who may see alerts. `sites` are those they see, None stands for all; `contacts` are the channels they
    chose; `roles` are keys of groups.
    """

    pk: int
    name: str
    email: str
    sites: frozenset[int] | None
    roles: frozenset[int]
    may_act: bool
    preference: Preference
    contacts: tuple[int, ...] = ()

    def sees(self, site_id: int) -> bool:
        return self.sites is None or site_id in self.sites


@dataclass
class Directory:
    people: dict[int, Person]
    channels: dict[int, Channel]
    _ways: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    @classmethod
    def load(cls) -> Self:
        """Everybody and every channel, in seven queries."""
        rights = {
            codename: set(User.groups.through.objects.filter(**_may(codename)).values_list("user_id", flat=True))
            for codename in ("view_alert", "acknowledge_alert", "view_all_sites")
        }
        roles = _by_person(User.groups.through.objects.values_list("user_id", "group_id"))
        sites = _by_person(User.sites.through.objects.values_list("user_id", "site_id"))
        contacts = _by_person(Contact.objects.order_by("pk").values_list("person_id", "channel_id"))
        preferences = {row.person_id: row for row in Preference.objects.all()}
        people = {}
        users = User.objects.filter(Q(pk__in=rights["view_alert"]) | Q(is_superuser=True), is_active=True)
        for pk, name, email, is_super in users.values_list("pk", "username", "email", "is_superuser"):
            everywhere = is_super or pk in rights["view_all_sites"]
            people[pk] = Person(
                pk,
                name,
                email,
                None if everywhere else frozenset(sites.get(pk, ())),
                frozenset(roles.get(pk, ())),
                is_super or pk in rights["acknowledge_alert"],
                preferences.get(pk) or Preference(person_id=pk),
                tuple(contacts.get(pk, ())),
            )
        return cls(people, {row.pk: row for row in Channel.objects.all()})

    @cached_property
    def email(self) -> list[int]:
        """E-mail, by which everybody is told who chose nothing else."""
        ways = (row for row in self.channels.values() if row.kind == Channel.Kind.EMAIL and row.enabled)
        return [row.pk for row in sorted(ways, key=lambda row: row.pk)]

    def ways(self, person: Person, site_id: int) -> list[int]:
        """The channels by which a person is told about a site; none when nothing reaches them."""
        key = person.pk, site_id
        if key not in self._ways:
            # What reached people one by one may have become a place since.
            chosen = [pk for pk in person.contacts if self.serves(pk, site_id) and self.channels[pk].is_personal]
            # Without an address of their own nobody is reached by e-mail, unless they gave one for the channel.
            fallback = [pk for pk in self.email if self.serves(pk, site_id)][:1] if person.email else []
            self._ways[key] = chosen or fallback
        return self._ways[key]

    def serves(self, channel_id: int, site_id: int) -> bool:
        channel = self.channels.get(channel_id)
        return channel is not None and channel.enabled and channel.site_id in (None, site_id)


def colleagues(user: User) -> "QuerySet[User]":
    """Active people of the sites that `user` sees: whom one may name."""
    people = User.objects.filter(is_active=True).order_by("username")
    if user.has_perm("sensors.view_all_sites"):
        return people
    return people.filter(pk__in=User.objects.filter(sites__in=user.sites.all()).values("pk"))


def _may(codename: str) -> dict[str, str]:
    return {"group__permissions__codename": codename}


def _by_person(rows: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for person, other in rows:
        found.setdefault(person, []).append(other)
    return found
