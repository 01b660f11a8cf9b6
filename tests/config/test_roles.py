import itertools

import pytest
from django.contrib.auth.models import Group

from config.roles import ROLES, permissions_of


@pytest.mark.django_db
@pytest.mark.parametrize("role", ROLES)
def test_after_migrate_every_role_is_a_group_with_exactly_its_permissions(role: str) -> None:
    group = Group.objects.get(name=role)
    stored = {f"{p.content_type.app_label}.{p.codename}" for p in group.permissions.select_related("content_type")}
    assert stored == permissions_of(role)


def test_roles_grow_from_viewer_to_admin() -> None:
    ladder = [permissions_of(role) for role in ("viewer", "operator", "technician", "engineer", "admin")]
    assert all(lower < upper for lower, upper in itertools.pairwise(ladder))
