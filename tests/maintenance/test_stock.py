import uuid
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from maintenance import stock, work_orders
from maintenance.models import Part, PartUse, WorkOrder
from sensors.errors import Refused
from tests.alerts.test_views import text
from tests.conftest import Plant

TWO = Decimal(2)


@pytest.fixture
def by(people: dict[str, User]) -> User:
    return people["technician"]


@pytest.fixture
def order(north: Plant, by: User) -> WorkOrder:
    return work_orders.propose(north.pump, by, title="Change the bearing", approved=True)


@pytest.fixture
def bearing(north: Plant) -> Part:
    return Part.objects.create(
        site=north.site, number="6205", name="Bearing", quantity=5, minimum=3, unit_cost=Decimal("12.50")
    )


@pytest.fixture
def technician(client: Client, by: User) -> Client:
    client.force_login(by)
    return client


def left(part: Part) -> Decimal:
    part.refresh_from_db()
    return part.quantity


def test_what_an_order_takes_leaves_the_store_at_the_price_of_the_day(
    order: WorkOrder, bearing: Part, by: User
) -> None:
    use = stock.take(order, bearing, TWO, by)
    Part.objects.update(unit_cost=99)
    assert (left(bearing), use.cost, stock.cost_of(order)) == (3, Decimal("25.00"), Decimal("25.00"))
    assert bearing.is_to_reorder


def test_sent_twice_it_is_taken_once(order: WorkOrder, bearing: Part, by: User) -> None:
    key = uuid.uuid4()
    assert stock.take(order, bearing, TWO, by, key=key) == stock.take(order, bearing, TWO, by, key=key)
    assert left(bearing) == 3


def test_more_than_there_is_is_taken_only_by_who_holds_it_in_hand(order: WorkOrder, bearing: Part, by: User) -> None:
    with pytest.raises(Refused) as refusal:
        stock.take(order, bearing, Decimal(6), by)
    assert (refusal.value.code, left(bearing)) == ("not_enough_in_stock", 5)
    assert "Only 5 pcs of 6205" in refusal.value.detail
    stock.take(order, bearing, Decimal(6), by, beyond_stock=True)
    assert left(bearing) == -1


def test_what_is_put_back_counts_no_more(order: WorkOrder, bearing: Part, by: User) -> None:
    use = stock.take(order, bearing, TWO, by)
    for _ in range(2):
        stock.put_back(use, by)
    assert (left(bearing), stock.cost_of(order)) == (5, 0)


def test_of_an_order_that_has_ended_nothing_changes(order: WorkOrder, bearing: Part, by: User) -> None:
    use = stock.take(order, bearing, TWO, by)
    work_orders.cancel(order, by)
    for change in (lambda: stock.take(order, bearing, TWO, by), lambda: stock.put_back(use, by)):
        with pytest.raises(Refused) as refusal:
            change()
        assert refusal.value.code == "work_order_ended"
    assert left(bearing) == 3


@pytest.mark.parametrize("quantity", ["0", "-1", "10000000"])
def test_quantities_that_make_no_sense_are_refused(order: WorkOrder, bearing: Part, by: User, quantity: str) -> None:
    for verb in (
        lambda: stock.take(order, bearing, Decimal(quantity), by),
        lambda: stock.deliver(bearing, Decimal(quantity), by),
    ):
        with pytest.raises(Refused) as refusal:
            verb()
        assert refusal.value.code == "invalid_quantity"


def test_parts_of_another_site_are_not_taken(order: WorkOrder, south: Plant, by: User) -> None:
    part = Part.objects.create(site=south.site, number="1", name="Seal", quantity=5)
    with pytest.raises(Refused) as refusal:
        stock.take(order, part, TWO, by)
    assert refusal.value.code == "other_site"


def test_a_technician_takes_and_puts_back_on_the_order_page(
    technician: Client, order: WorkOrder, bearing: Part
) -> None:
    panel_url = reverse("maintenance:parts-of-order", args=[order.pk])
    assert panel_url in text(technician, order.get_absolute_url())
    panel = text(technician, panel_url)
    assert "6205 Bearing (5 pcs)" in panel
    sent = {"part": bearing.pk, "quantity": "2", "key": str(uuid.uuid4())}
    for _ in range(2):
        technician.post(reverse("maintenance:take-part", args=[order.pk]), sent)
    assert left(bearing) == 3
    assert "25.00 EUR" in text(technician, panel_url)
    use = PartUse.objects.get()
    technician.post(reverse("maintenance:put-back", args=[use.pk]))
    assert left(bearing) == 5
    refused = technician.post(
        reverse("maintenance:take-part", args=[order.pk]),
        sent | {"quantity": "9", "key": str(uuid.uuid4())},
        follow=True,
    )
    assert "Only 5 pcs of 6205" in refused.content.decode()


def test_the_list_to_reorder_holds_what_has_reached_its_minimum(
    technician: Client, north: Plant, bearing: Part
) -> None:
    Part.objects.create(site=north.site, number="S-1", name="Seal", quantity=1, minimum=1)
    Part.objects.create(site=north.site, number="G-1", name="Grease", quantity=0)
    page = text(technician, reverse("maintenance:parts"), show="reorder")
    assert "S-1 Seal" in page
    assert "6205" not in page
    assert "G-1" not in page
    assert reverse("api:part-export") + "?format=csv&to_reorder=true" in page.replace("&amp;", "&")
    listed = technician.get(reverse("api:part-list"), {"to_reorder": "true"}).json()["results"]
    assert [row["number"] for row in listed] == ["S-1"]
    assert "6205 Bearing" in text(technician, reverse("maintenance:parts"), q="bear")


def test_an_engineer_changes_a_part_without_touching_what_is_in_stock(
    client: Client, people: dict[str, User], bearing: Part
) -> None:
    client.force_login(people["engineer"])
    sent = {"number": "6205-2RS", "name": "Bearing", "unit": "pcs", "minimum": "1"}
    client.post(bearing.get_absolute_url(), sent)
    client.post(reverse("maintenance:deliver-part", args=[bearing.pk]), {"quantity": "10"})
    assert (left(bearing), bearing.number) == (15, "6205-2RS")
    client.post(reverse("maintenance:count-part", args=[bearing.pk]), {"quantity": "14"})
    assert left(bearing) == 14
    api = reverse("api:part-detail", args=[bearing.pk])
    assert client.patch(api, {"place": "A3", "quantity": 99}, content_type="application/json").status_code == 200
    assert (left(bearing), bearing.place) == (14, "A3")


def test_the_lists_cost_the_same_with_one_and_with_ten_parts(
    technician: Client, north: Plant, order: WorkOrder, bearing: Part, by: User
) -> None:
    urls = [reverse("maintenance:parts"), reverse("maintenance:parts-of-order", args=[order.pk])]
    stock.take(order, bearing, Decimal(1), by)
    counts = []
    for more in (0, 9):
        for n in range(more):
            part = Part.objects.create(site=north.site, number=f"N{n}", name="Seal", quantity=5)
            stock.take(order, part, Decimal(1), by)
        with CaptureQueriesContext(connection) as seen:
            for url in urls:
                text(technician, url)
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 14
