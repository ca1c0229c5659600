"""Posts to webhooks over real connections: receivers that fail, hang, drip, redirect and reset."""

import json
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from dashboards.alerts.post import LATER, REFUSED, TOLD, Answer, post
from dashboards.alerts.webhook_settings import Webhook
from tests.receivers import Act, Receiver, answer, drip, endless, garbage, hang, nothing, reset

BODY = json.dumps({"message": "grüße"}, ensure_ascii=False).encode()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver(answer(200))
    yield found
    found.close()


def webhook(receiver: Receiver, scheme: str = "http", **more: Any) -> Webhook:
    url = f"{scheme}://127.0.0.1:{receiver.port}/T0/geheim?key=geheim"
    return Webhook(**{"name": "pager", "url": url, "timeout_seconds": 0.5, **more})


def test_a_post_has_what_a_receiver_needs(receiver: Receiver) -> None:
    chosen = webhook(receiver, headers={"X-Api-Key": "k1"}, user="ann", password="geheim:ü")
    assert post(chosen, BODY, "abc123") == Answer(TOLD)
    ((path, headers, body),) = receiver.got
    assert (path, body) == ("/T0/geheim?key=geheim", BODY)
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == "abc123"
    assert headers["X-Api-Key"] == "k1"
    assert headers["Authorization"] == "Basic YW5uOmdlaGVpbTrDvA=="  # base64 of ann:geheim:ü
    assert post(webhook(receiver, bearer_token="t1"), BODY, "x").outcome == TOLD
    assert receiver.got[1][1]["Authorization"] == "Bearer t1"


@pytest.mark.parametrize(
    ("act", "outcome", "words"),
    [
        (answer(204), TOLD, ""),
        (answer(500), LATER, "status 500"),
        (answer(503, Retry_After="7"), LATER, "status 503"),
        (answer(429, Retry_After="120"), LATER, "status 429"),
        (answer(408), LATER, "status 408"),
        (answer(400), REFUSED, "status 400"),
        (answer(401), REFUSED, "does not know us"),
        (answer(404), REFUSED, "look at url"),
        (hang, LATER, "no answer within 0.5 s"),
        (drip, LATER, "no answer within 0.5 s"),
        (endless, TOLD, ""),
        (reset, LATER, "reset"),
        (garbage, LATER, "no HTTP"),
        (nothing, LATER, "without an answer"),
    ],
)
def test_what_becomes_of_a_post(receiver: Receiver, act: Act, outcome: str, words: str) -> None:
    receiver.act = act
    began = time.monotonic()
    found = post(webhook(receiver, bearer_token="geheim"), BODY, "abc")
    assert time.monotonic() - began < 2
    assert (found.outcome, len(receiver.got)) == (outcome, 1)
    assert words in found.problem
    assert "geheim" not in repr(found)
    if found.problem:
        assert found.problem.startswith("webhook pager (127.0.0.1): ")


def test_the_pause_a_receiver_asks_for_is_a_number_or_a_date_and_bounded(receiver: Receiver) -> None:
    for header, least, most in (("120", 120, 120), (formatdate(time.time() + 60, usegmt=True), 57, 61),
                                ("999999999", 3_600, 3_600), ("-5", 0, 0), ("soon", 0, 0)):  # fmt: skip
        receiver.act = answer(429, Retry_After=header)
        assert least <= post(webhook(receiver), BODY, "abc").wait_seconds <= most


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    other = Receiver(answer(200))
    try:
        for status in (301, 302, 303, 307, 308):
            receiver.act = answer(status, Location=f"http://127.0.0.1:{other.port}/")
            found = post(webhook(receiver, bearer_token="geheim"), BODY, "abc")
            assert (found.outcome, found.reached) == (REFUSED, True)
            assert "a redirect, which is not followed" in found.problem
        assert other.got == []
    finally:
        other.close()


def test_nobody_there(receiver: Receiver) -> None:
    receiver.close()
    found = post(webhook(receiver), BODY, "abc")
    assert (found.outcome, found.reached) == (LATER, False)
    assert found.problem == "webhook pager (127.0.0.1): Connection refused"
    unknown = post(Webhook(name="pager", url="http://pager.invalid/geheim"), BODY, "abc")
    assert unknown.outcome == LATER
    assert "geheim" not in unknown.problem


def test_certificates_are_checked(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
         "key.pem", "-out", "ca.pem", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
         "subjectAltName=IP:127.0.0.1"],
        cwd=tmp_path, check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca.pem", tmp_path / "key.pem")
    receiver = Receiver(answer(200), context)
    try:
        strange = post(webhook(receiver, "https"), BODY, "abc")
        assert strange.outcome == LATER and "set ca_file" in strange.problem
        assert post(webhook(receiver, "https", ca_file=str(tmp_path / "ca.pem")), BODY, "abc") == Answer(TOLD)
        for name, words in (("none.pem", "No such file"), ("key.pem", "no certificates")):
            missing = post(webhook(receiver, "https", ca_file=str(tmp_path / name)), BODY, "abc")
            assert missing.outcome == LATER and words in missing.problem
        assert len(receiver.got) == 1
    finally:
        receiver.close()
