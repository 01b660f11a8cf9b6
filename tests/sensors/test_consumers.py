import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from asgiref.testing import ApplicationCommunicator
from channels.layers import get_channel_layer
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.urls import reverse

from config.asgi import application
from sensors import live
from sensors.consumers import SIGNED_OUT, LiveConsumer
from tests.conftest import Plant, make_user

# Channels closes database connections after each look-up, and with them the transaction that other tests run in.
pytestmark = pytest.mark.django_db(transaction=True)

# Long enough for a hint to come through Valkey, with the pause between two hints.
SOON = LiveConsumer.SECONDS_BETWEEN_HINTS + 0.5


class Socket(ApplicationCommunicator):
    """A browser's end of the live channel, spoken to in ASGI messages."""

    def __init__(self, client: Client | None, origin: str = "http://localhost") -> None:
        headers = [(b"origin", origin.encode()), (b"host", b"localhost")]
        if client:
            session = client.cookies[settings.SESSION_COOKIE_NAME].value
            headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={session}".encode()))
        scope = {"type": "websocket", "path": "/ws/live/", "query_string": b"", "headers": headers, "subprotocols": []}
        super().__init__(application, scope)

    async def connects(self) -> bool:
        await self.send_input({"type": "websocket.connect"})
        answer = await self.receive_output(3)
        return bool(answer["type"] == "websocket.accept")

    async def disconnect(self) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(3)

    async def hints(self, seconds: float = SOON) -> list[dict[str, Any]]:
        """Every hint that comes, until none has come for `seconds`."""
        found = []
        while not await self.receive_nothing(seconds, 0.01):
            found.append(json.loads((await self.receive_output())["text"]))
        return found


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


async def send(site_id: int, topic: str, asset: int | None = None) -> None:
    layer: Any = get_channel_layer()
    await layer.group_send(live.site_group(site_id), {"type": "hint", "topic": topic, "asset": asset})


def told(story: Callable[[Socket], Awaitable[None]], client: Client) -> None:
    """Run `story` with the open socket of `client`, and close it afterwards."""

    async def run() -> None:
        socket = Socket(client)
        assert await socket.connects()
        await story(socket)
        await socket.disconnect()

    async_to_sync(run)()


def test_a_stranger_is_refused() -> None:
    async def run() -> None:
        assert not await Socket(None).connects()

    async_to_sync(run)()


def test_a_page_of_another_website_is_refused(people: dict[str, User]) -> None:
    async def run() -> None:
        assert not await Socket(viewer, origin="https://evil.example").connects()

    viewer = logged_in(people["viewer"])
    async_to_sync(run)()


def test_hints_are_those_of_the_readers_sites(people: dict[str, User], north: Plant, south: Plant) -> None:
    async def story(socket: Socket) -> None:
        await send(south.site.pk, "alerts", south.pump.pk)
        await send(north.site.pk, "alerts", north.pump.pk)
        assert await socket.hints() == [{"topic": "alerts", "asset": north.pump.pk}]

    told(story, logged_in(people["viewer"]))


def test_whoever_sees_all_sites_hears_all_of_them(north: Plant, south: Plant) -> None:
    async def story(socket: Socket) -> None:
        await send(south.site.pk, "alerts")
        await send(north.site.pk, "work")
        assert {hint["topic"] for hint in await socket.hints()} == {"alerts", "work"}

    told(story, logged_in(make_user("admin")))


def test_stored_readings_reach_the_page(people: dict[str, User], north: Plant) -> None:
    async def story(socket: Socket) -> None:
        await sync_to_async(live.publish_readings)({north.site.pk})
        assert await socket.hints() == [{"topic": "readings", "asset": None}]

    told(story, logged_in(people["viewer"]))


def test_a_burst_becomes_the_first_hint_and_one_last_one(people: dict[str, User], north: Plant) -> None:
    async def story(socket: Socket) -> None:
        for asset in (7, 8, 8, 8):
            await send(north.site.pk, "alerts", asset)
        assert await socket.hints() == [{"topic": "alerts", "asset": 7}, {"topic": "alerts", "asset": 8}]

    told(story, logged_in(people["viewer"]))


def test_hints_of_several_assets_merge_into_one_about_any(people: dict[str, User], north: Plant) -> None:
    async def story(socket: Socket) -> None:
        for asset in (7, 8, 9):
            await send(north.site.pk, "alerts", asset)
        assert [hint["asset"] for hint in await socket.hints()] == [7, None]

    told(story, logged_in(people["viewer"]))


def test_one_topic_does_not_hold_up_another(people: dict[str, User], north: Plant) -> None:
    async def story(socket: Socket) -> None:
        await send(north.site.pk, "alerts")
        await send(north.site.pk, "work")
        assert len(await socket.hints(0.3)) == 2

    told(story, logged_in(people["viewer"]))


def test_a_steady_stream_passes_at_most_twice_a_second(people: dict[str, User], north: Plant) -> None:
    async def story(socket: Socket) -> None:
        for _ in range(30):
            await send(north.site.pk, "readings")
            await asyncio.sleep(0.05)
        assert 3 <= len(await socket.hints()) <= 5  # 1.5 s: one at once, two or three on the way, the last.

    told(story, logged_in(people["viewer"]))


def test_what_the_page_sends_is_ignored(people: dict[str, User], north: Plant) -> None:
    async def story(socket: Socket) -> None:
        await socket.send_input({"type": "websocket.receive", "text": "this is not JSON"})
        await send(north.site.pk, "alerts")
        assert len(await socket.hints()) == 1

    told(story, logged_in(people["viewer"]))


@pytest.fixture
def frequent_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveConsumer, "SECONDS_BETWEEN_CHECKS", 0.1)


def deactivate(user: User, client: Client) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def log_out(user: User, client: Client) -> None:
    # Not client.logout(), which would also forget the cookie that the socket was opened with.
    client.session.flush()


def deactivate_by_hand(user: User, client: Client) -> None:
    user.is_active = False
    user.save()


def log_out_by_hand(user: User, client: Client) -> None:
    # From the same browser, which sends the same cookie.
    Client(
        headers={"cookie": f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"}
    ).post(reverse("account_logout"))


def change_password(user: User, client: Client) -> None:
    user.set_password("another long pass phrase")
    user.save()


@pytest.mark.parametrize("end", [deactivate_by_hand, log_out_by_hand, change_password])
def test_the_channel_closes_at_once_when_the_platform_sees_the_end(
    people: dict[str, User], end: Callable[[User, Client], None]
) -> None:
    client = logged_in(people["viewer"])

    async def run() -> None:
        socket = Socket(client)
        assert await socket.connects()
        await sync_to_async(end)(people["viewer"], client)
        message = await socket.receive_output(3)
        assert (message["type"], message["code"]) == ("websocket.close", SIGNED_OUT)
        await socket.disconnect()

    async_to_sync(run)()


@pytest.mark.parametrize(
    "change",
    [
        lambda user, north, south: user.sites.set([south.site]),
        lambda user, north, south: (north.site.members.clear(), south.site.members.add(user)),
        lambda user, north, south: (user.groups.clear(), north.site.members.remove(user), user.sites.add(south.site)),
    ],
    ids=["by user", "by site", "with roles"],
)
def test_whoever_is_moved_to_another_site_hears_of_that_one_at_once(
    people: dict[str, User], north: Plant, south: Plant, change: Callable[[User, Plant, Plant], object]
) -> None:
    viewer = people["viewer"]

    async def story(socket: Socket) -> None:
        await sync_to_async(change)(viewer, north, south)
        await asyncio.sleep(1)
        await send(north.site.pk, "alerts")
        await send(south.site.pk, "work")
        assert [hint["topic"] for hint in await socket.hints()] == ["work"]

    told(story, logged_in(viewer))


def test_many_changes_at_once_are_one_hint(people: dict[str, User], north: Plant) -> None:
    def change() -> None:
        for asset in range(200):
            live.publish("alerts", site_id=north.site.pk, asset_id=asset)

    async def story(socket: Socket) -> None:
        await sync_to_async(change)()
        assert 1 <= len(await socket.hints()) <= 2

    told(story, logged_in(people["viewer"]))


def test_what_is_rolled_back_is_not_hinted_at(people: dict[str, User], north: Plant) -> None:
    def change_and_fail() -> None:
        with suppress(ValueError), transaction.atomic():
            live.publish("alerts", site_id=north.site.pk)
            raise ValueError

    async def story(socket: Socket) -> None:
        await sync_to_async(change_and_fail)()
        assert await socket.hints() == []

    told(story, logged_in(people["viewer"]))


@pytest.mark.usefixtures("frequent_checks")
@pytest.mark.parametrize("end", [deactivate, log_out, change_password])
def test_the_channel_closes_when_the_session_ends(people: dict[str, User], end: Callable[[User, Client], None]) -> None:
    client = logged_in(people["viewer"])

    async def run() -> None:
        socket = Socket(client)
        assert await socket.connects()
        await asyncio.sleep(0.3)
        assert await socket.receive_nothing()
        await sync_to_async(end)(people["viewer"], client)
        message = await socket.receive_output(3)
        assert (message["type"], message["code"]) == ("websocket.close", SIGNED_OUT)
        await socket.disconnect()

    async_to_sync(run)()


@pytest.mark.usefixtures("frequent_checks")
def test_sites_are_followed_as_memberships_change(people: dict[str, User], north: Plant, south: Plant) -> None:
    viewer = people["viewer"]

    async def story(socket: Socket) -> None:
        await sync_to_async(viewer.sites.set)([south.site])
        await asyncio.sleep(0.4)
        await send(north.site.pk, "alerts")
        await send(south.site.pk, "work")
        assert [hint["topic"] for hint in await socket.hints()] == ["work"]

    told(story, logged_in(viewer))
