"""Notices to people who look at no screen: by a real webhook and a real mail server, on loopback."""

import asyncio
import base64
import email
import http.server
import json
import socketserver
import ssl
import threading
from types import SimpleNamespace

import certificates
import pytest
from pydantic import ValidationError
from services import running, wait_until

from agent_service.errors import UsageError
from agent_service.models import Event, EventKind, utcnow
from agent_service.service.check import check
from agent_service.service.config import ServiceConfig, load
from agent_service.service.notice_channels import channels, untaken
from agent_service.service.notify import MOST_WAITING, NotifyDesk
from agent_service.service.notify_section import NotifySection

PAGE = "https://agents.example.org"


class Hook(http.server.BaseHTTPRequestHandler):
    """Takes what is posted; fails as often as its server says first."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        failing = self.server.failures > 0
        self.server.failures -= failing
        self.server.tried += 1
        if not failing:
            self.server.taken.append(body)
        self.send_response(500 if failing else 204)
        self.end_headers()

    def log_message(self, *_):
        pass


class Mail(socketserver.StreamRequestHandler):
    """As much of RFC 5321, 3207 and 4954 as a client needs that has a message to leave.

    With a ``context`` the server speaks TLS, at once where it is ``wrapped``; with a ``login`` it takes no mail before.
    """

    def setup(self):
        if self.server.wrapped:
            self.secure()
        super().setup()

    def finish(self):
        super().finish()
        self.request.close()

    def secure(self):
        self.request = self.server.context.wrap_socket(self.request, server_side=True)

    def handle(self):  # noqa: C901 - a command each
        def say(line):
            self.wfile.write(f"{line}\r\n".encode())

        logged_in = self.server.login is None
        say("220 test ESMTP")
        while line := self.rfile.readline():
            words = line.decode().split()
            match words[0].upper():
                case "EHLO":
                    say("250-test")
                    if self.server.context is not None and not self.server.wrapped:
                        say("250-STARTTLS")
                    say("250 AUTH PLAIN")
                case "STARTTLS":
                    say("220 go on")
                    self.secure()
                    super().setup()
                case "AUTH":
                    safe = isinstance(self.request, ssl.SSLSocket)
                    logged_in = safe and base64.b64decode(words[-1]).decode().split("\0")[1:] == self.server.login
                    say("235 welcome" if logged_in else "535 no")
                case "MAIL" if not logged_in:
                    say("530 log in first")
                case "RCPT" if "nobody@" in line.decode():
                    say("550 nobody of that name")
                case "DATA":
                    say("354 go on")
                    lines = []
                    while (part := self.rfile.readline()) != b".\r\n":
                        lines.append(part)
                    self.server.taken.append(email.message_from_bytes(b"".join(lines)))
                    say("250 taken")
                case "QUIT":
                    say("221 bye")
                    return
                case _:
                    say("250 fine")


@pytest.fixture
def hook():
    yield from _serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook))


@pytest.fixture
def mail():
    yield from _serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail))


def _serving(server):
    server.taken, server.failures, server.tried = [], 0, 0
    server.context, server.wrapped, server.login = None, False, None
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def told(server, *words, number=1):
    def there():
        found = [one for one in server.taken if all(word in one["text"] for word in words)]
        return found if len(found) >= number else None

    return wait_until(there, within_s=60, what=f"a notice with {words}, of {server.taken}")


def to_hook(server, **more):
    return {"webhook": f"http://127.0.0.1:{server.server_port}/hooks/s3cret", "public_url": f"{PAGE}/", **more}


def test_a_webhook_and_a_mail_server_are_told_what_a_person_wants_to_know(tmp_path, hook, mail):
    by_mail = {"smtp_host": "127.0.0.1", "smtp_port": mail.server_address[1], "sender": "agents@example.org"}
    notify = to_hook(hook, **by_mail, to=["night@example.org", "day@example.org"])
    with running(tmp_path, notify=notify) as service:
        service.create("asking", loop={"approval": "required", "max_runs": 1})
        service.post("agents/asking/start")
        [notice] = told(hook, "asking: 1 suggestion to approve or reject", PAGE)
        assert (notice["occasion"], notice["agent"], notice["link"]) == ("approval", "asking", PAGE)
        service.post(f"suggestions/{service.suggestions('asking', state='proposed')[0]['id']}/approve")
        told(hook, "agent asking has stopped: max_runs reached (1 of 1)")
        service.create("broken", type="brainbox:Faulty", config={"where": "suggest"})
        service.post("agents/broken/start")
        told(hook, "agent broken failed: suggest failed:")
        service.post("queue/abort", {"reason": "smoke"})
        told(hook, "held: nothing moves until somebody resumes the queue: smoke")
        wait_until(lambda: len(mail.taken) >= 4, within_s=60, what="the same by e-mail")
        first = mail.taken[0]
        assert (first["From"], first["To"]) == ("agents@example.org", "night@example.org, day@example.org")
        assert first["Subject"] == "asking: 1 suggestion to approve or reject"
        assert PAGE in first.get_payload()
        everything = json.dumps(hook.taken) + "".join(one.as_string() for one in mail.taken)
        assert service.server.api_key not in everything
        wait_until(lambda: service.get("service")["notices"]["sent"] == 8, within_s=60, what="all to be counted")
        status = service.get("service")["notices"]
        assert (status["failed"], status["dropped"]) == (0, 0)
        assert "s3cret" not in json.dumps(service.get("service"))
        assert 'agent_service_notices{what="sent"} 8.0' in service.http.get("/metrics").text


def test_what_a_person_did_is_no_notice(tmp_path, hook):
    with running(tmp_path, notify=to_hook(hook)) as service:
        service.create("mine")
        service.post("agents/mine/start")
        service.post("agents/mine/stop")
        service.until("mine", "stopped", within_s=60)
        service.post("queue/abort", {"reason": "lunch"})
        told(hook, "lunch")
        assert [one["occasion"] for one in hook.taken] == ["held"]


def test_one_that_is_refused_is_sent_again_and_holds_nothing_up(tmp_path, hook):
    hook.failures = 1
    with running(tmp_path, notify=to_hook(hook, on=["done"])) as service:
        service.create("done", loop={"max_runs": 1})
        service.post("agents/done/start")
        service.until("done", "stopped", within_s=60)
        told(hook, "agent done has stopped")
        assert hook.tried == 2
        wait_until(lambda: service.get("service")["notices"]["trouble"] is None, what="the trouble to be over")


def test_nobody_who_takes_them_holds_nothing_up(tmp_path):
    with running(tmp_path, notify={"webhook": "http://127.0.0.1:9/s3cret", "on": ["done"]}) as service:
        service.create("done", loop={"max_runs": 1})
        service.post("agents/done/start")
        service.until("done", "stopped", within_s=60)
        trouble = wait_until(lambda: service.get("service")["notices"]["trouble"], within_s=60)
        assert trouble == "the webhook at 127.0.0.1 does not take notices: ConnectError"


@pytest.fixture
def safe_mail(mail, tmp_path):
    """A mail server with a certificate and a login, and where the certificate is."""
    mail.path, mail.context = certificates.write(tmp_path)
    mail.login = ["agents", "pass word"]
    mail.handle_error = lambda *_: None  # a client that does not trust it goes away
    return mail


def by_mail(server, **more):
    address = {"smtp_host": "127.0.0.1", "smtp_port": server.server_address[1]}
    login = {"smtp_user": "agents", "smtp_password": "pass word"} if server.login else {}
    return NotifySection(**{**address, **login, "sender": "agents@example.org", "to": ["night@example.org"], **more})


def said(section):
    return [(one.field, one.message) for one in asyncio.run(untaken(section))]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_goes_by_tls_with_a_login_to_a_server_that_is_trusted(safe_mail, security, monkeypatch):
    safe_mail.wrapped = security == "tls"
    section = by_mail(safe_mail, smtp_security=security)
    [(field, message)] = said(section)
    assert field == "notify.smtp_host"
    assert "its certificate is not trusted: self-signed certificate" in message
    monkeypatch.setenv("SSL_CERT_FILE", str(safe_mail.path))
    assert said(section) == []
    assert safe_mail.taken == [], "it was asked, and left nothing"
    [channel] = channels(section)
    asyncio.run(channel.send("agent a failed", {"link": None, "time": "now"}))
    assert safe_mail.taken[0]["Subject"] == "agent a failed"
    [(_, message)] = said(by_mail(safe_mail, smtp_security=security, smtp_password="wrong"))
    assert "takes no notices: it answered 535" in message


def test_check_says_who_takes_no_notices(mail, hook):
    wrong = by_mail(mail, to=["night@example.org", "nobody@example.org"], webhook="http://127.0.0.1:9/s3cret")
    assert check(ServiceConfig(notify=wrong)) == [], "nobody is asked"
    advice = "see that it is right, and reached from here"
    assert [(one.field, one.message) for one in check(ServiceConfig(notify=wrong), devices=True)] == [
        ("notify.webhook", f"the webhook at 127.0.0.1 takes no notices: ConnectError; {advice}"),
        ("notify.smtp_host", f"the mail server 127.0.0.1 takes no notices: it refused nobody@example.org; {advice}"),
    ]
    assert said(by_mail(mail, **to_hook(hook))) == [], "a webhook that knows POST alone answers"
    assert (mail.taken, hook.taken) == ([], [])


def desk(**section):
    archive = SimpleNamespace(status=SimpleNamespace(state="ready", runs_behind=0, reason=None))
    made = NotifyDesk(NotifySection(webhook="http://127.0.0.1:9", **section), SimpleNamespace(lives={}), archive)
    return made, archive


def fact(kind, agent="a", **data):
    return Event(seq=1, time=utcnow(), agent=agent, kind=kind, data=data)


def test_the_oldest_are_dropped_and_counted_when_too_many_wait():
    made, _ = desk()
    for i in range(MOST_WAITING + 7):
        made.on_fact(fact(EventKind.AGENT_STATE, state="failed", reason=str(i)))
    assert (made.status.waiting, made.status.dropped) == (MOST_WAITING, 7)


def test_suggestions_of_an_agent_that_wait_are_one_notice():
    made, _ = desk()
    for agent in ("a", "b", "a", "a"):
        made.on_fact(fact(EventKind.SUGGESTION_STATE, agent, state="proposed", id="s"))
    assert made.status.waiting == 2


def test_a_catalogue_that_lags_is_told_once():
    made, archive = desk(archive_behind=5)
    for runs_behind, waiting in ((4, 0), (5, 1), (9, 1), (0, 1), (6, 2)):
        archive.status.runs_behind = runs_behind
        made._look_at_archive()
        assert made.status.waiting == waiting


def test_without_a_section_nobody_is_told_and_nothing_is_kept():
    archive = SimpleNamespace(status=SimpleNamespace(state="ready", runs_behind=0, reason=None))
    made = NotifyDesk(NotifySection(), SimpleNamespace(lives={}), archive)
    made.on_fact(fact(EventKind.AGENT_STATE, state="failed", reason="x"))
    assert made.status is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('webhook = "chat"', "notify.webhook"),
        ('smtp_host = "mail"\nto = ["a@b"]', "e-mail needs smtp_host, sender and to; sender is missing"),
        ('smtp_host = "mail"\nsender = "a@b"\nto = ["nobody"]', "is no e-mail address"),
        ('public_url = "https://x.org/?key=1"', "without a query"),
        ('on = ["everything"]', "notify.on"),
        ('smtp_user = "a"', "smtp_user and smtp_password go together"),
    ],
)
def test_what_is_written_wrongly_is_refused(tmp_path, text, words):
    (tmp_path / "service.toml").write_text(f"[notify]\n{text}\n")
    with pytest.raises(UsageError, match="is not valid") as error:
        load(tmp_path / "service.toml")
    assert words in str(error.value)


def test_the_webhook_is_not_shown():
    config = ServiceConfig(notify={"webhook": "https://chat.example.org/hooks/s3cret"})
    assert "s3cret" not in repr(config)
    with pytest.raises(ValidationError) as error:
        NotifySection(webhook="s3cret")
    assert "s3cret" not in str(error.value.errors(include_input=False))
