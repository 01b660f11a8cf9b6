"""Nobody can use the admin to get more rights than they have."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from sensors.models import Site
from tests.conftest import Plant


@pytest.fixture
def admin(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["admin"])
    return client


def user_form(user: User, **change: Any) -> dict[str, Any]:
    form = {
        "username": user.username,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "email": user.email,
        "is_active": "on",
        "groups": [group.pk for group in user.groups.all()],
        "Site_members-TOTAL_FORMS": 0,
        "Site_members-INITIAL_FORMS": 0,
    }
    return form | change


def change_page(user: User) -> str:
    return reverse("admin:auth_user_change", args=[user.pk])


def test_an_admin_changes_roles_and_sites(admin: Client, north: Plant, people: dict[str, User]) -> None:
    viewer = people["viewer"]
    other = Site.objects.create(name="Other")
    form = user_form(viewer, groups=[Group.objects.get(name="engineer").pk], last_name="Smith")
    sites = {"TOTAL_FORMS": 1, "INITIAL_FORMS": 0, "0-site": other.pk, "0-user": viewer.pk}
    form |= {f"Site_members-{name}": value for name, value in sites.items()}
    assert admin.post(change_page(viewer), form).status_code == 302
    viewer.refresh_from_db()
    assert viewer.last_name == "Smith"
    assert [group.name for group in viewer.groups.all()] == ["engineer"]
    assert set(viewer.sites.all()) == {north.site, other}


@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize("form", [{"email": "mine@example.com"}, {"is_active": "on"}])
def test_an_admin_cannot_touch_a_superuser(admin: Client, active: bool, form: dict[str, Any]) -> None:
    boss = User.objects.create_superuser("boss", "boss@example.com", is_active=active)
    assert admin.post(change_page(boss), user_form(boss, **form)).status_code == 403
    passwords = {"password1": "a new pass phrase", "password2": "a new pass phrase", "usable_password": "true"}
    assert admin.post(reverse("admin:auth_user_password_change", args=[boss.pk]), passwords).status_code == 403
    after = User.objects.get(pk=boss.pk)
    assert (after.email, after.password, after.is_active) == (boss.email, boss.password, active)


def test_an_admin_cannot_touch_somebody_with_a_right_they_lack(admin: Client, people: dict[str, User]) -> None:
    people["viewer"].user_permissions.add(Permission.objects.get(codename="delete_user"))
    assert admin.post(change_page(people["viewer"]), user_form(people["viewer"])).status_code == 403


@pytest.mark.parametrize("whom", ["viewer", "admin"])
def test_an_admin_cannot_make_a_superuser(admin: Client, people: dict[str, User], whom: str) -> None:
    user = people[whom]
    every = [permission.pk for permission in Permission.objects.all()]
    form = user_form(user, is_superuser="on", is_staff="on", user_permissions=every)
    assert admin.post(change_page(user), form).status_code == 302
    user.refresh_from_db()
    assert (user.is_superuser, user.is_staff, user.user_permissions.count()) == (False, False, 0)


def test_an_admin_cannot_give_a_group_with_rights_they_lack(admin: Client, people: dict[str, User]) -> None:
    group = Group.objects.create(name="owners")
    group.permissions.add(Permission.objects.get(codename="delete_user"))
    answer = admin.post(change_page(people["viewer"]), user_form(people["viewer"], groups=[group.pk]))
    assert "not one of the available choices" in answer.content.decode()


def test_a_superuser_may_do_both(client: Client, people: dict[str, User]) -> None:
    client.force_login(User.objects.create_superuser("boss"))
    assert client.post(change_page(people["admin"]), user_form(people["admin"], is_superuser="on")).status_code == 302
    assert User.objects.get(pk=people["admin"].pk).is_superuser


def test_nobody_deletes_people_or_edits_roles(client: Client, people: dict[str, User]) -> None:
    client.force_login(User.objects.create_superuser("boss"))
    assert (
        client.post(reverse("admin:auth_user_delete", args=[people["viewer"].pk]), {"post": "yes"}).status_code == 403
    )
    selected = {"action": "delete_selected", "_selected_action": [people["viewer"].pk], "post": "yes"}
    client.post(reverse("admin:auth_user_changelist"), selected)
    assert User.objects.filter(pk=people["viewer"].pk).exists()
    group = Group.objects.get(name="viewer")
    assert client.post(reverse("admin:auth_group_change", args=[group.pk]), {"name": "x"}).status_code == 403


def test_the_login_of_the_admin_is_the_one_login(client: Client, db: None) -> None:
    answer = client.get("/admin/sensors/sensor/", follow=True)
    assert answer.redirect_chain[-1][0] == "/accounts/login/?next=/admin/sensors/sensor/"
    # Nor can a password be sent past it.
    User.objects.create_superuser("boss", password="a long pass phrase")
    client.post("/admin/login/", {"username": "boss", "password": "a long pass phrase"})
    assert "_auth_user_id" not in client.session


def test_a_beat_job_can_be_switched_off_and_nothing_else(admin: Client) -> None:
    schedule = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.SECONDS)
    job = PeriodicTask.objects.create(name="sweep", task="sensors.tasks.sweep", interval=schedule)
    path = reverse("admin:django_celery_beat_periodictask_change", args=[job.pk])
    assert admin.post(path, {"task": "os.system", "args": '["rm"]'}).status_code == 302
    job.refresh_from_db()
    assert (job.enabled, job.task, job.args) == (False, "sensors.tasks.sweep", "[]")
