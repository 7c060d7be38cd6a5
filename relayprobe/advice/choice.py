"""The choice: which mode suits the device, and what to type into its menu.

The first mode that works as it is wins, in the order in which they are to be recommended: client submission, because it
reaches everybody and depends on no address; a connector, where there is one; Direct Send, where all recipients are the
organization's own. Where none works, it is the one that asks for the least: what a setting can cure counts little,
and what the device cannot do counts against the mode. Then the decision table (table.py) has its say: where it closes
that way for good, the first that it leaves open is taken. Where none is left, it is a relay in between, if that helps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from relayprobe.advice.case import Case, Tls, case_of
from relayprobe.advice.devices import field_names, recognise_device
from relayprobe.advice.findings import Finding
from relayprobe.advice.table import STRAIGHT, Outcome, decide
from relayprobe.advice.verdicts import Verdict
from relayprobe.office365 import endpoints, tls
from relayprobe.office365.modes import MODE_OF, MODES, Mode, Way
from relayprobe.rules import RULES
from relayprobe.rules.addresses import factory_setting, home_domain, outsiders
from relayprobe.rules.credentials import DIFFERENCES
from relayprobe.tongue import Said, inside, joined, said
from relayprobe.wire.session import Session, domain_of
from relayprobe.wire.visit import Visit

NAMES: Mapping[Mode, Said] = {
    "submission": said("Client submission"),
    "direct-send": said("Direct Send"),
    "connector": said("SMTP relay through a connector"),
}

_OLD_TLS = frozenset(("tls10-11-only", "sslv3-only", "legacy-ciphers-only"))
_OTHER_SENDERS = frozenset(("mail-from-not-auth-user", "header-from-not-auth-user"))

JUDGED: Mapping[str, str] = {
    # the program in the device does so, and no menu changes it
    "firmware": "bare-lf end-of-data-lf-only no-dot-stuffing data-never-finished data-with-parameters "
    "no-ehlo-after-starttls mail-from-no-brackets pipelining-not-offered",
    # it can be switched off at the MX endpoint, and nowhere else
    "tls": "tls10-11-only sslv3-only legacy-ciphers-only",
    # CRAM-MD5 and NTLM can be set otherwise on the devices that are known for them; PLAIN alone is all there is
    "mechanism": "auth-plain-only",
    "recipients": "external-recipient-direct-send",
    # what follows is cured by a setting
    "security": "no-tls silent-tls-downgrade implicit-tls-on-starttls-port port-465-to-office365 starttls-inside-tls "
    "auth-before-starttls cert-rejected-by-client",
    "name": "helo-invalid-name helo-empty helo-only",
    "login": "no-auth pop-before-smtp auth-not-advertised auth-cram-md5-no-fallback auth-ntlm-or-gssapi-first "
    "auth-login-prompt-sensitive auth-blank-credentials auth-newline-inside-base64 auth-base64-wrapped "
    "auth-password-truncated auth-password-charset auth-wrong-password auth-user-not-upn auth-bad-base64",
    "address": "mail-from-not-auth-user header-from-not-auth-user mail-from-empty mail-from-default-domain "
    "mail-from-display-name utf8-address rcpt-list-in-one-command rcpt-no-domain rcpt-quoted-or-ip too-many-recipients",
    "scan": "message-too-large",
    "network": "proxy-preamble telnet-noise-first",
}
"""Every rule that blocks a mode, by where its cure is to be looked for."""

_WITHOUT_A_SETTING: Mapping[str, tuple[Mode, ...]] = {
    "firmware": MODES,
    "tls": ("submission",),
    "mechanism": ("submission",),
    "recipients": ("direct-send",),
}

CANNOT_BE_SET: Mapping[Mode, frozenset[str]] = {
    mode: frozenset(
        slug for word, modes in _WITHOUT_A_SETTING.items() if mode in modes for slug in JUDGED[word].split()
    )
    for mode in MODES
}
"""Blockers that no setting of the device removes. Old TLS is none at the MX endpoint: it can be switched off."""

_SUITS: Mapping[Mode, Said] = {
    "submission": said("it asks for TLS, a login, and the login's own address as the sender"),
    "connector": said("it asks for no login, and takes mail for anyone from any sender in your own domains"),
    "direct-send": said("it asks for no login, and all recipients are in your own domains"),
}

_RELAY_CAN = said("A relay between the device and Office 365 can do what the device cannot: `relayprobe relay` is one.")

_SECURITY_TO_A_RELAY: Mapping[Tls, Said] = {
    "none": said("none, or STARTTLS where the device has it"),
    "old": said("none (switch SSL/TLS off: the device's is too old for anything but your own network)"),
    "implicit": said("SSL/TLS, as the device has it: the relay listens with TLS at once"),
    "modern": said("STARTTLS"),
}


@dataclass(frozen=True, slots=True)
class Advice:
    """The way to use, why, and what to type.

    `mode` is that of the way. `alternatives`: other modes that the device can be set to, in order. `relay`: what a
    relay in between would do instead. `device`: which it seems to be, and how that was known; `fields`: what its menu
    calls the settings. `questions`: what the administrator could tell that would change the advice.
    """

    mode: Mode
    because: str
    settings: dict[str, str]
    alternatives: tuple[Mode, ...] = ()
    warnings: tuple[str, ...] = ()
    way: Way = "submission"
    relay: tuple[str, ...] = ()
    device: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    questions: tuple[str, ...] = ()


def advise(
    session: Session, findings: Sequence[Finding], verdicts: Sequence[Verdict], visits: Sequence[Visit] = ()
) -> Advice:
    """Choose a way for the device."""
    by_mode = {mode: verdict for verdict in verdicts for mode in MODES if verdict.mode == mode}
    order = _order(session)
    in_the_way = {mode: _cannot_be_set(session, mode, by_mode[mode]) for mode in order}
    fitting = [mode for mode in order if by_mode[mode].works and _is_open(session, mode)]
    mode = fitting[0] if fitting else min(order, key=lambda mode: len(in_the_way[mode]))
    because = _because(session, mode, by_mode[mode], in_the_way)
    case = case_of(session, visits, [finding.rule.id for finding in findings])
    outcome = decide(case)
    way = _way_of(mode, case)
    stuck = bool(in_the_way[mode])
    if way not in outcome.reachable:
        left = [other for other in outcome.reachable if not in_the_way.get(MODE_OF[other])]
        if left:
            because = outcome.why_not((way,)) or because
            way, mode, stuck = left[0], MODE_OF[left[0]], False
        else:
            why_not = outcome.why_not(STRAIGHT - {"submission-oauth"})
            because = joined(filter(None, (because if stuck else "", why_not)), " ")
            stuck = True
    if _a_relay_helps(verdicts):
        if stuck:
            way, mode = "relayprobe", MODE_OF["relayprobe"]
        if stuck or in_the_way["submission"]:
            because = joined((because, _RELAY_CAN), " ")
    others = tuple(other for other in order if other != mode and not in_the_way[other])
    known = recognise_device(session)
    return Advice(
        mode=mode,
        because=because,
        settings=_settings(session, way, case),
        alternatives=tuple(other for other in others if _way_of(other, case) in outcome.reachable),
        warnings=tuple(_warnings(session, way, findings)),
        way=way,
        relay=outcome.relay,
        device=said("{device}: {sign}", device=known[0].name, sign=known[1]) if known else None,
        fields=field_names(known[0], mode) if known else {},
        questions=tuple(_questions(session, case, outcome)),
    )


def _a_relay_helps(verdicts: Sequence[Verdict]) -> bool:
    """Whether a device that is set rightly can send through a relay, whatever its program does."""
    hopeless = {*JUDGED["firmware"].split(), "no-port-open"}
    return any(verdict.mode == "relayprobe" and hopeless.isdisjoint(verdict.blockers) for verdict in verdicts)


def _way_of(mode: Mode, case: Case) -> Way:
    return "submission-oauth" if mode == "submission" and case.login == "XOAUTH2" else mode


def _questions(session: Session, case: Case, outcome: Outcome) -> Iterator[Said]:
    """What would change the choice, if it were told: two questions at the most."""
    asked = []
    if not session.site.domains and session.envelopes:
        asked.append(
            said("Which are your accepted domains? Then your own people can be told from others (domains in [site]).")
        )
    at_mx = [way for way in outcome.reachable if way in ("direct-send", "connector")]
    if at_mx and outcome.reachable[0] in at_mx and case.static_ip is None and case.connector is None:
        asked.append(
            said(
                "Has the site a fixed public address of its own? Then a connector is the better way (static_ip in "
                "[site])."
            )
        )
    if outcome.reachable[:1] == ("high-volume-email",) and case.hve is None:
        asked.append(said("Is there High Volume Email in your organization (hve in [site])?"))
    yield from asked[:2]


def _order(session: Session) -> list[Mode]:
    """The modes that come into question, the one to be recommended first."""
    if _all_inside(session) is False:
        return ["submission", "connector"]
    has_connector = session.site.connector or session.mode == "connector"
    return ["submission", "connector", "direct-send"] if has_connector else ["submission", "direct-send", "connector"]


def _is_open(session: Session, mode: Mode) -> bool:
    """Whether a mode can be used at once: a connector must be there, and Direct Send needs to know its recipients."""
    if mode == "connector":
        return session.site.connector or session.mode == "connector"
    return mode == "submission" or _all_inside(session) is True


def _all_inside(session: Session) -> bool | None:
    """Whether all recipients are the organization's own; None where there were none, or nothing to compare with."""
    if not any(envelope.recipients for envelope in session.envelopes) or not home_domain(session):
        return None
    return next(outsiders(session), None) is None


def _cannot_be_set(session: Session, mode: Mode, verdict: Verdict) -> list[str]:
    """The blockers of a mode that no setting of the device removes."""
    hard = CANNOT_BE_SET[mode]
    if mode == "submission" and len({envelope.sender for envelope in session.envelopes}) > 1:
        hard |= _OTHER_SENDERS  # it sends as several people: a sender that is set once is no cure
    return [blocker for blocker in verdict.blockers if blocker in hard]


def _because(session: Session, mode: Mode, verdict: Verdict, in_the_way: Mapping[Mode, Sequence[str]]) -> Said:
    if verdict.works and _is_open(session, mode):
        if not verdict.proven:
            return said(
                "Nothing seen so far speaks against it; no mail was seen that would prove it. {mode}: {suits}.",
                mode=NAMES[mode],
                suits=_SUITS[mode],
            )
        if mode == "submission" and session.login and session.login.mechanism == "XOAUTH2":
            return said("The device does all that it asks for, and signs in with OAuth, which stays.")
        because = [said("The device does already what it has to for this: {suits}.", suits=_SUITS[mode])]
        if verdict.risks:
            because.append(said("To be set right all the same: {faults}.", faults=_titles(verdict.risks)))
        return joined(because, " ")
    if in_the_way[mode]:
        because = [
            said(
                "No mode works with what the device does ({faults}), and no setting changes that.",
                faults=_titles(in_the_way[mode]),
            )
        ]
    elif at_device := [blocker for blocker in verdict.blockers if blocker in RULES]:
        because = [
            said("It asks for the least change. To be set right at the device: {faults}.", faults=_titles(at_device))
        ]
    else:
        because = [
            said("The device does what it has to for this, once there is a connector: {suits}.", suits=_SUITS[mode])
        ]
    if mode != "submission" and not _OLD_TLS.isdisjoint(verdict.blockers):
        because.append(said("Its SSL/TLS is simply switched off: this mode takes mail without."))
    if mode != "submission" and (submission := in_the_way["submission"]):
        because.append(said("Client submission is out of the device's reach ({faults}).", faults=_titles(submission)))
    return joined(because, " ")


def _titles(rules: Sequence[str]) -> Said:
    return joined((inside(RULES[rule].title) for rule in rules), "; ")


def _settings(session: Session, way: Way, case: Case) -> dict[str, str]:
    """What to type into the menu. What is not known is named, with where to look it up."""
    if way == "relayprobe":
        return {
            "server": said("the address of the relay on your own network"),
            "port": said("the port on which the relay listens"),
            "security": _SECURITY_TO_A_RELAY[case.tls],
            "user": said("as the relay is set up: none, or a login of its own"),
            "sender": said("unchanged: the relay decides"),
        }
    mode = MODE_OF[way]
    endpoint = endpoints.VARIANTS.get(way, endpoints.ENDPOINTS[mode])
    domain = home_domain(session)
    if endpoint.host:
        user, sender = _account(session, way)
        return {
            "server": endpoint.host,
            "port": str(endpoint.port),
            "security": said('STARTTLS (in some menus "TLS"; not "SSL")'),
            "user": user,
            "sender": sender,
        }
    lookup = said(
        "the MX host of {domain} (look it up: `nslookup -type=mx {query}`)",
        domain=domain or said("your domain"),
        query=domain or said("YOUR-DOMAIN"),
    )
    return {
        "server": session.site.mx or lookup,
        "port": str(endpoint.port),
        "security": _security_at_mx(session),
        "user": said("none: switch authentication off, and leave user name and password empty"),
        "sender": _sender(session) or said("an address in {domain}", domain=domain or said("your own domain")),
    }


def _account(session: Session, way: Way) -> tuple[str, str]:
    """Whom to log in as, and the sender that goes with it."""
    match way:
        case "high-volume-email":
            return said("the address of the High Volume Email account, with its own password"), (
                said("the address of the High Volume Email account, in From too")
            )
        case "azure-communication-services":
            return said("resource|application id|tenant id, with the application's secret as the password"), (
                said("an address that is set up on the verified domain")
            )
        case _:
            mailbox = _mailbox(session)
            return mailbox, mailbox


def _mailbox(session: Session) -> str:
    """The address to log in with: the only account told of, else the login that was seen, else the sender."""
    if len(session.site.accounts) == 1 and "@" in session.site.accounts[0]:
        return session.site.accounts[0]
    user = session.login.user if session.login else None
    if user and "@" in user:
        return user.strip()
    domain = home_domain(session)
    return _sender(session) or said(
        "the full address of the device's mailbox (somebody@{domain})", domain=domain or said("your-domain")
    )


def _sender(session: Session) -> str | None:
    """The device's sender, where it can stay as it is."""
    senders = {envelope.sender for envelope in session.envelopes if envelope.sender}
    if len(senders) != 1:
        return None
    sender = senders.pop()
    accepted = session.site.accepts(sender)
    return sender if accepted or (accepted is None and domain_of(sender) and not factory_setting(sender)) else None


def _security_at_mx(session: Session) -> str:
    if any(up.version in ("TLSv1.2", "TLSv1.3") for _, up in session.tls):
        return said("STARTTLS")
    offered = [sent.hello for _, sent in session.hellos if sent.hello]
    if offered and all(h.best_version < tls.OLDEST_VERSION or tls.TAKEN.isdisjoint(h.suites) for h in offered):
        return said("none (switch SSL/TLS off: the device's is too old)")
    return said("STARTTLS, or none where the device has no such setting")


def _warnings(session: Session, way: Way, findings: Sequence[Finding]) -> list[Said]:
    warnings: list[Said] = []
    mode = MODE_OF[way]
    login = session.login
    if login and login.reply and login.reply.code == 535:
        likeness = login.secret.likeness if login.secret else None
        if likeness and likeness != "equal":
            warnings.append(
                said(
                    "The password that came with {user} is not the expected one: {difference}.",
                    user=login.user,
                    difference=DIFFERENCES[likeness],
                )
            )
        else:
            warnings.append(
                said(
                    "The login of {user} was refused here: look at user name and password.",
                    user=login.user or said("nobody"),
                )
            )
    if way == "submission":
        warnings.append(_dated(endpoints.BASIC_AUTH_ENDS))
    elif way == "high-volume-email":
        warnings.append(_dated(endpoints.HVE_TERMS))
    elif way == "azure-communication-services":
        warnings.append(_dated(endpoints.ACS_TERMS))
    elif mode == "direct-send":
        warnings.append(_dated(endpoints.DIRECT_SEND_MAY_BE_OFF))
    elif mode == "connector":
        warnings.append(_dated(endpoints.CONNECTOR_TERMS))
    if mode != "submission" and session.site.mx is None:
        warnings.append(said(endpoints.MX_IS_LOOKED_UP.text))
    if any(finding.rule.id == "tls10-11-only" for finding in findings):
        warnings.append(_dated(endpoints.LEGACY_TLS))
    return warnings + [
        said("{title}: {doubt}.", title=said(finding.rule.title), doubt=said(finding.rule.doubt or ""))
        for finding in findings
        if finding.rule.id in _LOCAL_ONLY
    ]


_LOCAL_ONLY = ("cert-rejected-by-client",)
"""Findings that are about relayprobe as much as about Office 365, so that their doubt belongs to the advice."""


def _dated(notice: endpoints.Notice) -> Said:
    return said("{notice} (As of {date}; {source}.)", notice=said(notice.text), date=notice.seen, source=notice.source)
