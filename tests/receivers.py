"""Real receivers of messages: a web server that answers as it is told to, and a mail server."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message as Mail
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.platform import free_port


@dataclass
class Posted:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Web:
    """What was posted, in order. `answers` are statuses with headers, taken one after the other; the last one stays.

    The status 0 closes the connection without an answer, -1 lets it hang until the receiver is closed, -2 drips, and
    any other one is sent once the gate is open.
    """

    url: str
    answers: list[tuple[int, dict[str, str]]]
    posted: list[Posted] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=threading.Event)

    def next_answer(self) -> tuple[int, dict[str, str]]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def web(*answers: int | tuple[int, dict[str, str]], port: int = 0) -> Iterator[Web]:
    told = [answer if isinstance(answer, tuple) else (answer, {}) for answer in answers or (200,)]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.posted.append(Posted(self.path, dict(self.headers), body))
            status, headers = receiver.next_answer()
            if status == -1:
                receiver.closed.wait(60)
            if status == -2:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                while not receiver.closed.wait(0.2):
                    self.wfile.write(b"X-Drip: drop\r\n")
            if status <= 0:
                self.close_connection = True
                return
            receiver.gate.wait(60)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *args: Any) -> None:
            """Nothing on the terminal."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: Any) -> None:
            """A sender that gives up is no error here."""

    server = Server(("127.0.0.1", port), Handler)
    receiver = Web(f"http://127.0.0.1:{server.server_port}/hook", told)
    receiver.gate.set()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.closed.set()
        server.shutdown()
        server.server_close()


@dataclass
class MailServer:
    """What was received, in order. `reply` is what is answered to every mail, unless it is empty; the mailbox `full`
    takes nothing for now.
    """

    port: int
    reply: str = ""
    full: str = ""
    mails: list[Mail] = field(default_factory=list)
    connections: int = 0

    async def handle_EHLO(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, name: str, replies: list[str]
    ) -> list[str]:
        self.connections += 1
        session.host_name = name
        return replies

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address == self.full:
            return "452 mailbox full"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        assert isinstance(envelope.content, bytes)
        if not self.reply:
            self.mails.append(message_from_bytes(envelope.content))
        return self.reply or "250 taken"


@contextmanager
def mail_server(port: int = 0) -> Iterator[MailServer]:
    receiver = MailServer(port or free_port())
    controller = Controller(receiver, hostname="127.0.0.1", port=receiver.port)
    controller.start()
    try:
        yield receiver
    finally:
        controller.stop()
