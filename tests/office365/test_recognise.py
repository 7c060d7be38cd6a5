"""Whatever people paste, the reply in it is found; what is not known is not made up."""

from __future__ import annotations

import re
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayprobe.office365 import replies
from relayprobe.office365.recognise import LONGEST, MOST_REPLIES, Recognised, Unknown, recognise
from relayprobe.office365.replies import ANSWERS, Answer
from relayprobe.office365.replies.normal import NORMAL

SERVER = "[AS4P189CA0060.EURP189.PROD.OUTLOOK.COM 2026-10-24T06:56:46.567Z 08DBD2CBA8497480]"
OLD_SERVER = "[DB4PR04MB505.eurprd04.prod.outlook.com]"
EDGE = "[HE1EUR02FT003.eop-EUR02.prod.protection.outlook.com]"
HOST = "[Hostname=OS0PR01MB6099.jpnprd01.prod.outlook.com]"
INSIDES = " ".join(
    f"{n}.{40000 + n}:0A00{n:04X}, 18.59943:00000000{n:08X}, 255.23226:140000{n:02X}," for n in range(40)
)
SEND_AS = (
    "554 5.2.252 SendAsDenied; scanner@contoso.com not allowed to send as anna@contoso.com; "
    "STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message due to a "
    f"permanent exception with message [BeginDiagnosticData]Cannot submit message. {INSIDES} [EndDiagnosticData] {HOST}"
)
DENIED = "535 5.7.139 Authentication unsuccessful, "

ROWS = {
    # before and in the greeting
    "connect to smtp.office365.com[40.99.31.130]:25: Connection timed out": "NO_CONNECTION",
    "dial tcp 52.97.1.1:25: connect: connection refused": "NO_CONNECTION",
    "220 ************************************": "FOREIGN_BANNER",
    "220 gateway.contoso.com ESMTP ready": "FOREIGN_BANNER",
    f"421 4.3.2 Service not available {SERVER}": "SERVICE_NOT_AVAILABLE",
    "421 4.3.2 The maximum number of concurrent connections per resource forest has exceeded a limit, closing "
    f"transmission channel. Visit https://aka.ms/x. PRX8 {EDGE}": "FOREST_CONNECTIONS",
    f"500 5.3.3 Unrecognized command 'unknown' {SERVER}": "UNRECOGNIZED_COMMAND",
    f"501 5.5.4 Invalid domain name {SERVER}": "INVALID_DOMAIN_NAME",
    "503 5.5.2 Send hello first": "SEND_HELLO_FIRST",
    f"550 5.7.506 Access Denied, Bad HELO {EDGE}": "BAD_HELO",
    "550 5.7.1 Service unavailable, Helo domain is listed in Spamhaus. To request removal from this list see "
    f"https://www.spamhaus.org/query/lookup/ (S8001) {EDGE}": "HELO_LISTED",
    "421 4.7.66 TLS 1.0 and 1.1 are not supported. Please upgrade/update your client to support TLS 1.2. Visit "
    f"https://aka.ms/smtp_auth_tls. {OLD_SERVER}": "TLS_TOO_OLD",
    # the login
    f"504 5.7.4 Unrecognized authentication type {SERVER}": "UNRECOGNIZED_AUTH",
    f"535 5.7.3 Authentication unsuccessful {SERVER}": "AUTH_UNSUCCESSFUL",
    f"{DENIED}the user credentials were incorrect. {SERVER}": "CREDENTIALS_INCORRECT",
    f"{DENIED}SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more "
    f"information. {OLD_SERVER}": "SMTP_AUTH_DISABLED_TENANT",
    f"{DENIED}SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled for more "
    f"information. {SERVER}": "SMTP_AUTH_DISABLED_MAILBOX",
    f"{DENIED}basic authentication is disabled. {SERVER}": "BASIC_AUTH_DISABLED",
    f"{DENIED}user is locked by your organization's security defaults policy. Contact your administrator. "
    f"{SERVER}": "SECURITY_DEFAULTS",
    f"{DENIED}the request did not meet the criteria to be authenticated successfully. Contact your administrator. "
    f"{SERVER}": "CONDITIONAL_ACCESS",
    f"{DENIED}the organization configuration does not allow this authentication method {SERVER}": "METHOD_NOT_ALLOWED",
    f"{DENIED}federated STS service was unreachable. {SERVER}": "STS_UNREACHABLE",
    f"{DENIED}the federated STS URL does not support HTTPS. {SERVER}": "STS_WITHOUT_HTTPS",
    f"550 5.7.30 Basic authentication is not supported for Client Submission. {SERVER}": "BASIC_AUTH_RETIRED",
    f"501 5.5.121 Invalid argument {SERVER}": "XOAUTH2_MALFORMED",
    f"501 5.5.124 Invalid data {SERVER}": "XOAUTH2_MALFORMED",
    f"501 5.5.126 Invalid data {SERVER}": "XOAUTH2_MALFORMED",
    f"535 5.7.142 Authentication unsuccessful, token will expire soon {SERVER}": "TOKEN_EXPIRES_SOON",
    f"535 5.7.143 Expired token {SERVER}": "TOKEN_EXPIRED",
    f"535 5.7.144 XOAUTH2 failed, invalid API permissions {SERVER}": "OAUTH_PERMISSIONS",
    "550 5.7.240 The application is not allowed for use with this High Volume Email account "
    f"{SERVER}": "APPLICATION_NOT_ALLOWED",
    f"454 4.7.0 Temporary authentication failure {SERVER}": "TEMPORARY_AUTH_FAILURE",
    # the sender
    f"451 5.7.3 STARTTLS is required to send mail {SERVER}": "STARTTLS_REQUIRED",
    f"530 5.7.57 Client not authenticated to send mail. {SERVER}": "NOT_AUTHENTICATED",
    "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM "
    f"{OLD_SERVER}": "NOT_AUTHENTICATED",
    f"550 5.7.60 SMTP; Client does not have permissions to send as this sender {OLD_SERVER}": "NOT_PERMITTED_AS_SENDER",
    f"550 5.7.62 Sender is not the account {SERVER}": "HVE_SENDER",
    f"550 5.2.240 Not such an account {SERVER}": "NOT_HVE_ACCOUNT",
    f"552 5.3.4 Message size exceeds fixed maximum message size {SERVER}": "MESSAGE_TOO_LARGE",
    f"501 5.1.7 Invalid address {SERVER}": "INVALID_SENDER_ADDRESS",
    f"501 5.1.3 Invalid address {SERVER}": "INVALID_RECIPIENT_ADDRESS",
    f"550 5.7.25 [2001:db8::5] must have a PTR record {EDGE}": "IPV6_NO_PTR",
    f"450 4.7.26 Access denied, a message sent over IPv6 must pass SPF or DKIM {EDGE}": "IPV6_UNSIGNED",
    f"550 5.7.508 Access denied, [2001:db8::5] has exceeded permitted limits {EDGE}": "IPV6_TOO_MANY",
    f"550 5.7.510 Access denied, contoso.com does not accept email over IPv6 {EDGE}": "IPV6_REFUSED",
    # the recipients
    f"550 5.7.64 TenantAttribution; Relay Access Denied {EDGE}": "RELAY_DENIED",
    f"550 5.7.64 Relay Access Denied ATTR36 {EDGE}": "RELAY_DENIED_SENDER",
    f"451 4.4.62 Mail sent to the wrong Office 365 region. ATTR35. {EDGE}": "WRONG_REGION",
    "550 4.4.4 Mail received as unauthenticated, incoming to a recipient domain configured in a hosted tenant which "
    "has "
    f"no mail-enabled subscriptions. ATTR5 {EDGE}": "NO_MAIL_SUBSCRIPTION",
    f"550 5.4.1 Recipient address rejected: Access denied. AS(201806281) {EDGE}": "RECIPIENT_REJECTED",
    f"550 5.4.1 [nobody@contoso.com]: Recipient address rejected: Access denied {EDGE}": "RECIPIENT_REJECTED",
    f"550 5.4.1 All recipient addresses rejected : Access denied {EDGE}": "ALL_RECIPIENTS_REJECTED",
    f"550 5.4.1 Relay Access Denied {EDGE}": "DOMAIN_NOT_ACCEPTED",
    "550 5.7.68 TenantInboundAttribution; Direct Send not allowed for this organization from unauthorized sources "
    f"{EDGE}": "DIRECT_SEND_REJECTED",
    f"550 5.7.51 TenantInboundAttribution; Rejecting. Recipient has a partner connector {EDGE}": "PARTNER_CONNECTOR",
    f"550 5.7.711 Access denied, bad inbound connector. AS(2204) {EDGE}": "BAD_CONNECTOR",
    "550 5.7.606 Access denied, banned sending IP [203.0.113.7]. To request removal from this list please visit "
    f"https://sender.office.com/ and follow the directions. (AS16012609) {EDGE}": "BANNED_ADDRESS",
    f"550 5.7.649 Access denied, banned sending IP [203.0.113.7] {EDGE}": "BANNED_ADDRESS",
    f"550 5.7.511 Access denied, banned sender[203.0.113.7]. {EDGE}": "BANNED_SENDER_ADDRESS",
    "550 5.7.1 Service unavailable, Client host [203.0.113.7] blocked using Spamhaus. To request removal from this "
    "list "
    f"see https://www.spamhaus.org/query/ip/203.0.113.7 (AS16012611) {EDGE}": "ADDRESS_LISTED",
    "550 5.7.1 Service unavailable, MailFrom domain is listed in Spamhaus. To request removal from this list see x "
    f"(S8002) {EDGE}": "SENDER_DOMAIN_LISTED",
    f"550 5.7.1 Unable To Relay: Blocked by Customer Allow list {EDGE}": "CUSTOMER_ALLOW_LIST",
    f"550 5.7.507 Access denied, rejected by recipient {EDGE}": "CUSTOMER_BLOCK_LIST",
    "550 5.7.513 Service unavailable, Client host [203.0.113.7] blocked by contoso.com using Customer Block list "
    f"(AS16012607) {EDGE}": "CUSTOMER_BLOCK_LIST_SENDER",
    f"550 5.7.504 [nobody@contoso.com]: Recipient address rejected: Access denied {EDGE}": "RECIPIENT_BANNED",
    f"550 5.7.505 Access denied, banned recipient {EDGE}": "RECIPIENT_BANNED_TOO",
    f"550 5.1.1 Bad destination mailbox address {EDGE}": "RECIPIENT_UNKNOWN",
    "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient nobody@contoso.com not found": "RECIPIENT_NOT_FOUND",
    f"452 4.5.3 Too many recipients (AS780090) {EDGE}": "TOO_MANY_RECIPIENTS",
    f"451 4.7.500 Server busy. Please try again later from [203.0.113.7]. (AS77712344) {EDGE}": "SERVER_BUSY",
    f"451 4.7.699 Server busy {EDGE}": "SERVER_BUSY",
    f"451 4.7.550 Access denied, please try again later {EDGE}": "ACCESS_DENIED_FOR_NOW",
    f"451 4.7.850 Access denied {EDGE}": "THROTTLED_TOO",
    f"451 4.7.899 Access denied {EDGE}": "THROTTLED_TOO",
    f"451 4.7.650 The mail server [203.0.113.7] has been temporarily rate limited {EDGE}": "CONSUMER_THROTTLED",
    f"451 4.7.651 The mail server [203.0.113.7] has been temporarily rate limited {EDGE}": "CONSUMER_THROTTLED",
    "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required": "AUTHENTICATED_ONLY_133",
    "550 5.7.134 RESOLVER.RST.SenderNotAuthenticatedForMailbox; authentication required": "AUTHENTICATED_ONLY_134",
    "550 5.7.135 authentication required": "AUTHENTICATED_ONLY_135",
    "550 5.7.136 authentication required": "AUTHENTICATED_ONLY_136",
    "550 5.7.12 Sender was not authenticated by organization": "AUTHENTICATED_ONLY_12",
    "550 5.7.124 RESOLVER.RST.NotAuthorizedToGroup; not authorized": "AUTHENTICATED_ONLY_124",
    # after the message
    SEND_AS: "SEND_AS_DENIED",
    SEND_AS.replace("554 5.2.252 SendAsDenied; ", "554 5.2.0 "): "SEND_AS_DENIED",
    "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process "
    "message "
    f"due to a permanent exception with message Cannot submit message. {INSIDES} {HOST}": "SEND_AS_DENIED",
    f"550 5.6.241 From header is not the account {SERVER}": "HVE_FROM_HEADER",
    f"432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded {HOST}": "THREAD_LIMIT",
    "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information. "
    f"{HOST}": "CONCURRENT_CONNECTIONS",
    "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException.MapiExceptionSubmissionQuotaExceeded; "
    f"Failed to process message due to a permanent exception with message Cannot submit message. {INSIDES} "
    f"{HOST}": "SUBMISSION_QUOTA",
    "550 5.2.2 Submission quota exceeded": "SUBMISSION_QUOTA_REPORT",
    "550 5.1.90 Your message can't be sent because you've reached your daily limit": "DAILY_LIMIT",
    "554 5.2.2 mailbox full; STOREDRV.Submission.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded; "
    f"{INSIDES} {HOST}": "MAILBOX_FULL",
    f"550 5.2.251 Sender throttled due to continuous mailbox full errors. {HOST}": "PENALTY_MAILBOX_FULL",
    f"550 5.2.252 Sender throttled due to continuous send as denied errors. {HOST}": "PENALTY_SEND_AS_DENIED",
    f"550 5.2.253 Sender throttled due to continuous invalid license errors. {HOST}": "PENALTY_INVALID_LICENSE",
    f"550 5.2.254 Sender throttled due to continuous too many recipients errors. {HOST}": "PENALTY_TOO_MANY_RECIPIENTS",
    f"550 5.2.255 Sender throttled due to continuous invalid recipients errors. {HOST}": "PENALTY_INVALID_RECIPIENTS",
    "554 5.2.3 STOREDRV.Submission.Exception:MessageSubmissionExceededException.MapiExceptionMaxSubmissionExceeded; "
    f"Message size exceeds maximum size limit. {INSIDES} {HOST}": "MAILBOX_SIZE_EXCEEDED",
    "554 5.2.0 MapiExceptionMaxSubmissionExceeded; Message size exceeds maximum size limit.; STOREDRV.Submission."
    f"Exception:MessageSubmissionExceededException {HOST}": "MAILBOX_SIZE_EXCEEDED",
    f"554 5.2.121 RecipientRateLimit {HOST}": "RECIPIENT_SWAMPED",
    f"554 5.2.122 The recipient has exceeded their limit {HOST}": "RECIPIENT_SWAMPED_TOO",
    "550 5.1.8 Access denied, bad outbound sender AS(41812)": "BAD_OUTBOUND_SENDER",
    "550 5.7.501 Access denied, spam abuse detected.": "SPAM_ABUSE",
    "550 5.7.502 Access denied, banned sender.": "BANNED_SENDER",
    "550 5.7.503 Access denied, banned sender.": "BANNED_SENDER",
    "550 5.7.800 Access denied": "BANNED_DOMAIN",
    "550 5.7.233 Your message can't be sent because your tenant exceeded its daily limit for sending email to external "
    "recipients (tenant external recipient rate limit).": "TENANT_LIMIT",
    "550 5.7.232 Your message can't be sent because your trial tenant has exceeded its limit": "TRIAL_TENANT_LIMIT",
    "550 5.7.236 Your message can't be sent": "ONMICROSOFT_LIMIT",
    "550 5.7.705 Access denied, tenant has exceeded threshold": "TENANT_THRESHOLD",
    "550 5.7.708 Access denied, traffic not accepted from this IP": "TRIAL_ADDRESS",
    "550 5.7.750 Client blocked from sending from unregistered domain": "UNREGISTERED_DOMAIN",
    "550 5.7.703 Your message can't be delivered": "TENANT_BLOCK_LIST",
    "550 5.7.509 Access denied, sending domain contoso.com does not pass DMARC verification and has a DMARC policy of "
    f"reject. {EDGE}": "DMARC_REJECTED",
    "550 5.7.23 The message was rejected because of Sender Policy Framework violation": "SPF_VIOLATION",
    f"550 5.7.512 Access denied, message must be RFC 5322 section 3.6.2 compliant {EDGE}": "NOT_RFC5322",
    "550 5.1.20 Multiple From addresses are not allowed without Sender": "FROM_WITHOUT_SENDER",
    "550 5.6.11 Invalid characters": "INVALID_CHARACTERS",
    "550 5.6.11 SMTPSEND.BareLinefeedsAreIllegal; message contains bare linefeeds, which cannot be sent via DATA and "
    "receiving system does not support BDAT": "BARE_LINE_FEEDS",
    "550 5.7.1 Delivery not authorized": "NOT_AUTHORIZED",
    f"451 4.7.0 Temporary server error. Please try again later. PRX4 {EDGE}": "TEMPORARY_ERROR",
    f"451 4.3.2 Temporary server error. Please try again later ATTR17 {EDGE}": "TEMPORARY_ERROR_ATTR17",
    f"451 4.4.0 Message failed to be replicated: insufficient system resources {EDGE}": "NOT_REPLICATED",
    f"452 4.3.1 Insufficient system resources {EDGE}": "INSUFFICIENT_RESOURCES",
    f"450 4.7.3 Organization queue quota exceeded. {EDGE}": "QUEUE_QUOTA",
    "4.4.7 Message expired": "EXPIRED",
    "550 5.4.300 Message expired -> 451 x": "EXPIRED_TOO",
    "554 5.4.14 Hop count exceeded - possible mail loop": "LOOP",
    # not in that section
    f"421 4.4.1 Connection timed out {EDGE}": "TIMED_OUT",
    "451 4.4.2 Timeout - closing connection": "IDLE_TOO_LONG",
    "550 5.6.7 SMTPUTF8 is not supported": "UTF8_ADDRESS",
}
NAMES = {value: name for name, value in vars(replies).items() if isinstance(value, Answer)}


def names(found: Recognised) -> list[str]:
    return [NAMES[match.answer] for match in found.matches]


@pytest.mark.parametrize(("said", "name"), ROWS.items(), ids=ROWS.values())
def test_a_reply_is_recognised_as_it_comes(said: str, name: str) -> None:
    assert names(recognise(said)) == [name]
    assert not recognise(said).unknown


@pytest.mark.parametrize(("said", "name"), ROWS.items(), ids=ROWS.values())
def test_a_reply_is_recognised_however_it_is_pasted(said: str, name: str) -> None:
    code, blank, words = said.partition(" ")
    assert names(recognise("\n".join(textwrap.wrap(said, 60)))) == [name]
    assert names(recognise(said.upper() if name != "FOREIGN_BANNER" else said)) == [name]
    if blank and code.isdigit() and code != "220":
        words = words.replace(". ", ".\n" + code + " ")
        assert names(recognise(f"S: {code}-{words}".replace("\n" + code + " ", "\nS: " + code + "-"))) == [name]
        assert names(recognise(f"({code}, {words.encode()!r})")) == [name]
        assert names(recognise(f"SMTP ERROR: DATA END command failed: {said}")) == [name]
        assert names(
            recognise(
                f"Nov 25 10:12:13 mx postfix/smtp[99]: 4B: to=<a@b.c>, (host x[40.99.31.130] said: {said} (in reply "
                f"to MAIL FROM command))"
            )
        ) == [name]
        assert names(recognise(f"Remote Server returned '{said}'")) == [name]


def test_every_reply_is_among_the_rows() -> None:
    assert {NAMES[answer] for answer in ANSWERS} == set(ROWS.values())


def test_the_words_may_be_broken_anywhere() -> None:
    said = f"{DENIED}the user credentials were incorrect. {SERVER}"
    for at in range(len("535 5.7.139 "), len(said)):
        assert names(recognise(f"{said[:at]}\r\n{said[at:]}")) == ["CREDENTIALS_INCORRECT"], said[:at]


def test_what_is_wrapped_in_another_reply_comes_first() -> None:
    said = (
        f"530 5.7.57 Client not authenticated to send mail. Error: {DENIED}basic authentication is disabled. {SERVER}"
    )
    assert names(recognise(said)) == ["BASIC_AUTH_DISABLED", "NOT_AUTHENTICATED"]


def test_codes_that_come_after_the_words() -> None:
    """As PHPMailer has it."""
    assert names(
        recognise("DATA END command failed Detail: 5.2.252 SendAsDenied; a not allowed to send as b; SMTP code: 554")
    ) == ["SEND_AS_DENIED"]
    said = "Detail: SendAsDenied; a not allowed to send as b; STOREDRV SMTP code: 554 Additional SMTP info: 5.2.252"
    assert names(recognise(said)) == ["SEND_AS_DENIED"]
    assert names(recognise("Detail: Invalid address SMTP code: 501 Additional SMTP info: 5.1.7")) == [
        "INVALID_SENDER_ADDRESS"
    ]


def test_a_number_with_two_meanings_and_no_words() -> None:
    found = recognise("550 5.2.252")
    assert names(found) == ["PENALTY_SEND_AS_DENIED"]
    found = recognise("5.2.252")
    assert names(found) == ["SEND_AS_DENIED", "PENALTY_SEND_AS_DENIED"]
    assert {match.by for match in found.matches} == {"number"}


def test_a_queue_that_cannot_connect_is_not_told_of_a_reply() -> None:
    """As Postfix has it: the code is its own."""
    said = "to=<a@b.c>, dsn=4.4.1, status=deferred (connect to x.office365.com[40.99.31.130]:25: Connection timed out)"
    assert names(recognise(said)) == ["NO_CONNECTION"]


def test_the_same_reply_in_a_log_and_its_code_before_it() -> None:
    said = f"dsn=5.7.57, status=bounced (host x[40.99.31.130] said: 530 5.7.57 Client not authenticated {SERVER})"
    assert names(recognise(said)) == ["NOT_AUTHENTICATED"]


def test_a_known_number_with_other_words_is_known_by_its_number() -> None:
    assert {match.by for match in recognise("550 5.7.606 go away").matches} == {"number"}
    assert {match.by for match in recognise("550 5.7.606 Access denied, banned sending IP [x]").matches} == {"words"}


def test_a_report_of_non_delivery() -> None:
    report = f"""\
Delivery has failed to these recipients or groups:
nobody@contoso.com
Remote Server returned '550 5.4.1 Recipient address rejected: Access denied. AS(201806281) {EDGE}'

Final-Recipient: rfc822;nobody@contoso.com
Action: failed
Status: 5.4.1
Diagnostic-Code: smtp;550 5.4.1 Recipient address rejected: Access denied. AS=
(201806281) {EDGE}
X-Originating-IP: 203.0.113.7
"""
    assert names(recognise(report)) == ["RECIPIENT_REJECTED"]


def test_a_whole_dialogue() -> None:
    said = f"""\
2026-11-23 11:12:20 SERVER -> CLIENT: 220 SY5P282CA0097.outlook.office365.com Microsoft ESMTP MAIL Service ready at Sun
2026-11-23 11:12:20 CLIENT -> SERVER: EHLO mfp
2026-11-23 11:12:20 SERVER -> CLIENT: 250-SY5P282CA0097.outlook.office365.com Hello [203.0.113.7]
250-SIZE 157286400
250 SMTPUTF8
2026-11-23 11:12:21 SERVER -> CLIENT: 504 5.7.4 Unrecognized authentication type {SERVER}
"""
    found = recognise(said)
    assert names(found) == ["UNRECOGNIZED_AUTH"]
    assert [normal.stage for normal in found.normal] == ["banner", "ehlo"]


@pytest.mark.parametrize(
    ("said", "stage"),
    [
        ("220 SY5P282CA0097.outlook.office365.com Microsoft ESMTP MAIL Service ready at Sun, 23 Nov 2025", "banner"),
        ("220 SN1NAM02FT0049.mail.protection.outlook.com Microsoft ESMTP MAIL Service ready at Wed, 28", "banner"),
        ("220 mail.contoso.com Microsoft ESMTP MAIL Service ready at Wed, 28 Jun 2023", "banner"),
        ("250-SY5P282CA0097.outlook.office365.com Hello [172.105.184.101]", "ehlo"),
        ("220 2.0.0 SMTP server ready", "tls"),
        ("334 VXNlcm5hbWU6", "auth"),
        ("<~ 334 UGFzc3dvcmQ6", "auth"),
        ("S: 235 2.7.0 Authentication successful", "auth"),
        ("   0.004664 <~  250 2.1.0 Sender OK", "mail"),
        ("250 2.1.5 Recipient OK", "rcpt"),
        ("354 Start mail input; end with <CRLF>.<CRLF>", "data"),
        (f"250 2.0.0 OK <a@b> {HOST}", "end-of-data"),
        (
            "250 2.6.0 <a@b> [InternalId=1, Hostname=X.prod.outlook.com] 1 bytes in 1, 1 KB/sec Queued mail for "
            "delivery",
            "end-of-data",
        ),
        ("221 2.0.0 Service closing transmission channel", "end-of-data"),
    ],
)
def test_what_is_no_fault(said: str, stage: str) -> None:
    found = recognise(said)
    assert [normal.stage for normal in found.normal] == [stage]
    assert not found.matches
    assert not found.unknown


def test_every_line_of_an_ordinary_dialogue_is_in_its_own_form() -> None:
    for normal in NORMAL:
        assert normal.form.match(normal.line), normal.line
        assert normal.meaning.endswith(".")


@pytest.mark.parametrize(
    ("said", "line", "meaning"),
    [
        ("550 5.9.9 Go away", "550 5.9.9", "refused for good: the same will be refused again"),
        ("S: 450 4.2.0 Greylisted", "450 4.2.0", "refused for now: the same may be accepted later; about a mailbox"),
        ("550 No such user here", "550", "refused for good: the same will be refused again"),
        (
            "502 5.5.1 Unrecognized command",
            "502 5.5.1",
            "refused for good: the same will be refused again; about the dialogue itself",
        ),
    ],
)
def test_what_is_not_known_is_not_made_up(said: str, line: str, meaning: str) -> None:
    found = recognise(said)
    assert not found
    assert [(one.line, one.meaning) for one in found.unknown] == [(line, meaning)]


@pytest.mark.parametrize(
    "said",
    ["", "hello", "connect to port 587 of 5.7.139.1", "version 1.5.7.3", "at 10:550", "Postfix 3.5.6", "the 550 km"],
)
def test_what_is_no_reply_at_all(said: str) -> None:
    found = recognise(said)
    assert not found
    assert found.unknown == ()


HOSTILE = st.lists(
    st.sampled_from(
        [
            "5.7.1",
            "550 ",
            "554-",
            "[",
            "]",
            "Hostname=",
            "\n",
            "\r\n",
            " ",
            "Error:",
            "S: ",
            "220 ",
            "b'",
            "(501, b'",
            "=\n",
            "\\n",
            "0:",
            "\x00",
            "\u2019",
            "SendAsDenied;",
            "code ",
            "5.",
            ".5",
            "9" * 50,
        ]
    ),
    max_size=200,
)


@given(st.one_of(st.text(), HOSTILE.map("".join), HOSTILE.map(lambda pieces: ("".join(pieces) + " ") * 50)))
def test_nothing_breaks_it(said: str) -> None:
    found = recognise(said)
    assert len(found.unknown) + len(found.matches) <= MOST_REPLIES + len(ANSWERS)
    assert found.cut == (len(said) > LONGEST) or len(re.findall(r"[245]\.\d", said)) > MOST_REPLIES
    for one in found.unknown:
        assert re.fullmatch(r"[45][\d.]{2,10}( [45][\d.]+)?", one.line)


@pytest.mark.parametrize(
    "piece",
    [
        "5.7.1 ",
        "[",
        "550 ",
        "[a",
        "\n",
        " ",
        "\n ",
        "0:",
        "b'",
        "S: ",
        "code 550,",
        "220 a",
        "=\n",
        "\\n",
        "4",
        "554-5.2.252 x\n",
    ],
)
def test_a_text_of_any_length_is_read_to_its_limit(piece: str) -> None:
    """Quadratic work over a megabyte of it would end this by the time limit for a test that hangs."""
    assert recognise(piece * (2**20 // len(piece))).cut


def test_an_unknown_reply_is_said_once() -> None:
    assert recognise("550 5.9.9 a\n550 5.9.9 b\n").unknown == (Unknown(550, "5.9.9"),)
