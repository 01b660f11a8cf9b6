import json
import time

import psutil
import pytest
from playwright.sync_api import sync_playwright

from tests.e2e.test_story import CHROMIUM, FLAGS, assert_nothing_sticks_out, log_in
from tests.platform import running
from tests.receivers import mail_server, web

SETUP = """
from alerts import channels, lifecycle
from alerts.models import *
from sensors.models import *
from django.utils import timezone
from django.contrib.auth.models import User
site = Site.objects.create(name="Works", timezone="Europe/Berlin")
pump = Asset.objects.create(site=site, name="Pump P-101")
User.objects.filter(username="admin").update(email="admin@example.com")
c = Channel(name="Hook", kind="webhook")
channels.keep_secrets(c, url="%s")
c.save()
Route.objects.first().channels.add(c)
dead = Channel(name="Old pager", kind="webhook", site=site)
channels.keep_secrets(dead, url="%s")
dead.save()
Route.objects.create(name="Pager", least_severity=3).channels.add(dead)
now = timezone.now()
print("raise", time.time() if False else "")
for n in range(3):
    lifecycle.raise_alert(dedup_key=f"hot{n}", title=f"Vibration of P-101 far above its usual level, {n}", severity=Severity.CRITICAL if n==0 else Severity.HIGH, evidence={}, began_at=now, last_seen_at=now, asset=pump)
from alerts.models import Delivery
print(Delivery.objects.count())
"""
pytestmark = [pytest.mark.e2e, pytest.mark.platform, pytest.mark.timeout(400)]


def test_it():
    with web() as receiver, web(404) as dead, mail_server() as mails:
        with running(DEMO="0", WEBHOOK_ALLOW_PRIVATE="127.0.0.0/8", EMAIL_URL=f"smtp://127.0.0.1:{mails.port}") as p:
            t = time.time()
            print(p.manage("shell", "--no-imports", "-c", SETUP % (receiver.url, dead.url)))
            while len(receiver.posted) < 2 and time.time() - t < 90:
                time.sleep(0.2)
            for q in receiver.posted:
                print(json.loads(q.body)["subject"], q.headers.get("Idempotency-Key"))
            print("mails", [m["Subject"] for m in mails.mails], time.time() - t)
            for q in psutil.Process(p.process.pid).children(recursive=True):
                if "messages@" in " ".join(q.cmdline()):
                    print(
                        "messages memory",
                        q.memory_full_info().uss / 2**20,
                        q.memory_info().rss / 2**20,
                        q.num_threads(),
                    )
            print(p.health().json())
            with sync_playwright() as pw:
                b = pw.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                for w, h in ((390, 844), (1440, 900)):
                    c = b.new_context(base_url=p.url, viewport={"width": w, "height": h})
                    page = c.new_page()
                    log_in(page, p)
                    for name, path in (
                        ("channels", "/alerts/channels/"),
                        ("new", "/alerts/channels/new/"),
                        ("log", "/alerts/deliveries/"),
                        ("channel", None),
                        ("delivery", None),
                        ("templates", "/admin/alerts/messagetemplate/add/?kind=anomaly"),
                    ):
                        if name == "channel":
                            page.goto("/alerts/channels/")
                            page.get_by_role("link", name="Old pager").click()
                            page.get_by_role("button", name="Send a test").click()
                            page.get_by_text("the receiver answers 404").first.wait_for(timeout=15000)
                        elif name == "delivery":
                            page.goto("/alerts/deliveries/?state=sent")
                            page.locator(".row-title").first.click()
                        else:
                            page.goto(path)
                        page.wait_for_timeout(300)
                        page.screenshot(path=f"/tmp/shots/{name}-{w}.png", full_page=True)
                        if name != "templates":
                            assert_nothing_sticks_out(page)
                    if w == 390:
                        link = [
                            l
                            for m in mails.mails
                            for l in m.get_payload()[0].get_payload(decode=True).decode().split()
                            if "by-link" in l
                        ]
                        print(link[:1])
                        c2 = b.new_context(base_url=p.url, viewport={"width": w, "height": h})
                        pg = c2.new_page()
                        pg.goto(link[0])
                        pg.screenshot(path="/tmp/shots/link-390.png")
                        pg.get_by_role("button", name="Acknowledge").click()
                        pg.screenshot(path="/tmp/shots/link2-390.png")
                        html = mails.mails[0].get_payload()[1].get_payload(decode=True).decode()
                        pg.set_content(html)
                        pg.screenshot(path="/tmp/shots/mail-390.png")
                b.close()
            for f in sorted((p.state_dir / "log").glob("messages*")):
                print(f.read_text()[-1500:])
