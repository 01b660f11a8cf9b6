import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from rest_framework.generics import GenericAPIView

from config.api_urls import urlpatterns
from sensors.admin import SiteScopedAdmin
from sensors.models import ApiKey, Site
from sensors.querysets import CatalogueQuerySet
from tests.architecture.things import make_things
from tests.conftest import make_user

OUR_APPS = ("sensors", "alerts", "maintenance", "mlops")
OUR_MODELS = [model for app in OUR_APPS for model in apps.get_app_config(app).get_models()]


@pytest.mark.parametrize("model", OUR_MODELS, ids=lambda model: model.__name__)
@pytest.mark.django_db
def test_every_model_says_who_sees_its_rows(model: type[Model]) -> None:
    stranger = User.objects.create_user("stranger")
    Site.objects.create(name="North")
    if not isinstance(model._default_manager.all(), CatalogueQuerySet):
        assert not model._default_manager.visible_to(stranger).exists()  # type: ignore[attr-defined]
    assert not model._default_manager.visible_to(AnonymousUser()).exists()  # type: ignore[attr-defined]


@pytest.mark.parametrize("model", OUR_MODELS, ids=lambda model: model.__name__)
def test_every_admin_page_is_scoped_by_site_and_deletes_nothing(model: type[Model]) -> None:
    page = admin.site._registry.get(model)
    if page is None:
        assert model.__name__ in (
            "CalendarLink",
            "PlanOccurrence",
            "Reading",
            "HourlySummary",
            "DirtyHour",
            "Transition",
            "Contact",
            "Condition",
            "DeliveryItem",
            "Escalation",
            "EscalationStep",
            "Override",
            "Preference",
            "Rotation",
            "RotationMember",
            "IdempotentRequest",
            "WorkOrderStep",
            "AssetDocument",
            "ChecklistItem",
            "Attachment",
        )
        return
    assert isinstance(page, SiteScopedAdmin)


ADMIN_LISTS = [
    f"/admin/{model._meta.label_lower.replace('.', '/')}/" for model in OUR_MODELS if model in admin.site._registry
]
API_LISTS = [reverse(f"api:{url.name}") for url in urlpatterns if (url.name or "").endswith("-list")]


@pytest.mark.parametrize("path", [*ADMIN_LISTS, *API_LISTS])
def test_a_list_costs_the_same_queries_whatever_its_length(client: Client, db: None, path: str) -> None:
    counts = []
    for names in (["North"], ["East", "South", "West"]):
        for name in names:
            ApiKey.issue(User.objects.get(pk=make_things(name)["work_order"].created_by_id), name, ["read"])
        client.force_login(make_user("admin"))
        with CaptureQueriesContext(connection) as queries:
            assert client.get(path).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_every_endpoint_with_rows_starts_at_what_the_caller_sees() -> None:
    for url in urlpatterns:
        view = url.callback.cls  # type: ignore[attr-defined]
        if issubclass(view, GenericAPIView):
            assert view.get_queryset is not GenericAPIView.get_queryset, view
