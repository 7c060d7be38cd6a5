"""What relayprobe relies on in aiosmtpd beyond what it promises: a new release that changes it is met here."""

from __future__ import annotations

import asyncio
import inspect
import logging

from aiosmtpd.smtp import SMTP

from relayprobe.capture.answers import Accept
from relayprobe.capture.smtp import Limits, PatientSMTP


async def test_the_table_of_verbs_is_made_of_the_methods_of_the_class() -> None:
    answers = Accept("relayprobe.local", accounts={}, message_size=1000)
    template = PatientSMTP(answers, Limits(), asyncio.get_running_loop())
    verbs = {name.removeprefix("smtp_") for name in vars(PatientSMTP) if name.startswith("smtp_")}
    stock = {name.removeprefix("smtp_") for name in vars(SMTP) if name.startswith("smtp_")}
    assert set(template._smtp_methods) == verbs | stock
    assert stock <= verbs  # none of aiosmtpd's own manners is left: no method of it takes octets
    assert template._smtp_methods["MAIL"].__func__ is PatientSMTP.smtp_MAIL


def test_the_loop_that_is_replaced_is_where_it_was() -> None:
    assert inspect.iscoroutinefunction(SMTP._handle_client)
    assert list(inspect.signature(SMTP._handle_client).parameters) == ["self"]


def test_its_log_which_would_show_passwords_has_this_name() -> None:
    from aiosmtpd import smtp

    assert smtp.log is logging.getLogger("mail.log")
