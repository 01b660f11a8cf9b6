import json
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import Group, User
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from sensors.models import ApiKey, Site


class Command(BaseCommand):
    help = (
        "Create an API key and print it, once. Programs send it in the X-API-Key header; it acts with the permissions "
        "and sites of its user, within its scopes."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", required=True, metavar="NAME", help="the user the key acts for")
        parser.add_argument(
            "--scopes",
            default="ingest,read",
            help=f"what the key allows, separated by commas: {', '.join(ApiKey.Scope.values)} (default: %(default)s)",
        )
        parser.add_argument("--name", default="command line", help="what the key is for (default: %(default)s)")
        parser.add_argument(
            "--create", action="store_true", help="create the user if there is none: role integration, no password"
        )
        parser.add_argument(
            "--site",
            action="append",
            default=[],
            help="make the user a member of this site; repeatable. Given once, the key sends for this site alone",
        )
        parser.add_argument(
            "--requests-per-second",
            type=int,
            default=100,
            help="beyond this it has to wait; 0: no limit (default: 100)",
        )
        parser.add_argument(
            "--no-discovery", action="store_true", help="refuse readings of unknown sensors instead of creating them"
        )
        parser.add_argument("--json", action="store_true", help="print a JSON object instead of the key alone")

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        scopes = _scopes(options["scopes"])
        user = _user(options["user"], create=options["create"])
        if options["requests_per_second"] < 0:
            raise CommandError("--requests-per-second is 0 or more.")
        sites = [_site(name) for name in options["site"]]
        for site in sites:
            site.members.add(user)
        row, key = ApiKey.issue(
            user,
            options["name"],
            scopes,
            site=sites[0] if len(sites) == 1 else None,
            discovers=not options["no_discovery"],
            requests_per_second=options["requests_per_second"],
        )
        if options["json"]:
            key = json.dumps({"key": key, "id": row.pk, "user": user.username, "name": row.name, "scopes": scopes})
        self.stdout.write(key)


def _scopes(text: str) -> list[str]:
    scopes = [scope.strip() for scope in text.split(",") if scope.strip()]
    unknown = [scope for scope in scopes if scope not in ApiKey.Scope.values]
    if unknown or not scopes:
        raise CommandError(
            f"Unknown scopes: {', '.join(unknown) or 'none given'}. Use {', '.join(ApiKey.Scope.values)}."
        )
    return list(dict.fromkeys(scopes))


def _user(name: str, *, create: bool) -> User:
    user = User.objects.filter(username=name).first()
    if user is None and create:
        user = User.objects.create_user(name)  # Without a password nobody can log in with it.
        user.groups.add(Group.objects.get(name="integration"))
    if user is None:
        raise CommandError(f"There is no user {name!r}. Add --create to make one for a program.")
    if not user.is_active:
        raise CommandError(f"User {name!r} is not active, so the key would not work.")
    return user


def _site(name: str) -> Site:
    site: Site | None = Site.objects.filter(name=name).first()
    if site is None:
        known = ", ".join(Site.objects.values_list("name", flat=True)) or "none yet"
        raise CommandError(f"There is no site {name!r}. Sites: {known}.")
    return site
