"""The login: AUTH, and MAIL FROM where none was made."""

from __future__ import annotations

from relayprobe.office365 import sources
from relayprobe.office365.replies.answer import HVE, ON_SUBMISSION, Answer

_BEGINNING = "Authentication unsuccessful, "

UNRECOGNIZED_AUTH = Answer(
    504,
    "5.7.4",
    "Unrecognized authentication type",
    "auth",
    "A login in clear text, by a mechanism other than LOGIN and XOAUTH2, or where no login is taken at all: "
    "at the MX endpoint.",
    "mattermost/mattermost#954; splitbrain/dokuwiki-plugin-smtp#67",
    "2026-02",
    fix="Client submission: switch STARTTLS on and choose LOGIN (or OAuth) as the method, not PLAIN, CRAM-MD5 or NTLM. "
    "Direct Send and connector: switch authentication off and clear user name and password.",
    retry="configuration",
)
AUTH_UNSUCCESSFUL = Answer(
    535,
    "5.7.3",
    "Authentication unsuccessful",
    "auth",
    "User name or password is wrong. It is answered after about five seconds. With OAuth: SMTP AUTH is switched off, "
    "the mailbox permission is missing, the service principal was made with the wrong Object ID, or a change of up to "
    "an hour ago does not act yet.",
    f"{sources.PRINTERS}; {sources.OAUTH_CHECKLIST}",
    "2024-01-24",
    modes=ON_SUBMISSION,
    fix="Type user name (the full address) and password anew. With OAuth: use the Object ID under Enterprise "
    "applications, give the application full access to the mailbox, and see that SMTP AUTH is on for it.",
    retry="hold",
)
CREDENTIALS_INCORRECT = Answer(
    535,
    "5.7.139",
    _BEGINNING + "the user credentials were incorrect.",
    "auth",
    "User name or password is wrong.",
    "freescout-help-desk/freescout#4930 and #5144",
    "2026-01-09",
    modes=ON_SUBMISSION,
    fix="Correct the user name (the full address) or the password. Do not let the device try over and over: the "
    "account may be locked.",
    retry="hold",
    wordings=("the user credentials were incorrect",),
)
SMTP_AUTH_DISABLED_TENANT = Answer(
    535,
    "5.7.139",
    _BEGINNING + "SmtpClientAuthentication is disabled for the Tenant. "
    "Visit https://aka.ms/smtp_auth_disabled for more information.",
    "auth",
    "SMTP AUTH is switched off for the whole organization, and the mailbox has no exception. It stops OAuth as well as "
    "passwords.",
    "nextgenhealthcare/connect#5634; simonrob/email-oauth2-proxy#193; nodemailer/nodemailer#1484",
    "2023-09-12",
    modes=ON_SUBMISSION,
    fix="An administrator switches it on for this one mailbox: "
    "Set-CASMailbox MAILBOX -SmtpClientAuthenticationDisabled $false.",
    retry="hold",
    wordings=("SmtpClientAuthentication is disabled for the Tenant",),
)
SMTP_AUTH_DISABLED_MAILBOX = Answer(
    535,
    "5.7.139",
    _BEGINNING + "SmtpClientAuthentication is disabled for the Mailbox",
    "auth",
    "SMTP AUTH is switched off for this mailbox.",
    sources.OAUTH_CHECKLIST,
    "2026",
    modes=ON_SUBMISSION,
    fix="An administrator switches it on: Set-CASMailbox MAILBOX -SmtpClientAuthenticationDisabled $false.",
    retry="hold",
    wordings=("SmtpClientAuthentication is disabled for the Mailbox",),
)
BASIC_AUTH_DISABLED = Answer(
    535,
    "5.7.139",
    _BEGINNING + "basic authentication is disabled.",
    "auth",
    "A login with a password is not allowed: by an authentication policy, or because it has been switched off for the "
    "account. Accounts at outlook.com and hotmail.com get it too.",
    sources.BASIC_AUTH,
    "2026-09",
    doubt="which reply comes when Basic authentication is off by default has not been published: this one, or 550 "
    "5.7.30",
    modes=ON_SUBMISSION,
    fix="Use OAuth, or a relay that does. As long as Basic authentication exists, an authentication policy with "
    "AllowBasicAuthSmtp lets the account log in with its password.",
    retry="hold",
    wordings=("basic authentication is disabled",),
)
SECURITY_DEFAULTS = Answer(
    535,
    "5.7.139",
    _BEGINNING + "user is locked by your organization's security defaults policy. Contact your administrator.",
    "auth",
    "The organization has Microsoft Entra's security defaults on, which stop a login with a password.",
    "collected from public reports of the text",
    "",
    doubt="whether security defaults also stop OAuth for SMTP is unclear in Microsoft's own wording",
    modes=ON_SUBMISSION,
    fix="Use OAuth; or replace the security defaults by Conditional Access policies that leave this account out.",
    retry="hold",
    wordings=("organization's security defaults policy", "is locked by your organization"),
)
CONDITIONAL_ACCESS = Answer(
    535,
    "5.7.139",
    _BEGINNING + "the request did not meet the criteria to be authenticated successfully. Contact your administrator.",
    "auth",
    "A rule of the organization refuses this login: Conditional Access, a second factor that is asked for, or a "
    "blocked place. The same login may work from another network.",
    "freescout-help-desk/freescout#4930; tothpaul/Delphi#12",
    "2026",
    modes=ON_SUBMISSION,
    fix="An administrator leaves the account, or the site's public address, out of that policy; or use OAuth.",
    retry="hold",
    wordings=("did not meet the criteria to be authenticated",),
)
METHOD_NOT_ALLOWED = Answer(
    535,
    "5.7.139",
    _BEGINNING + "the organization configuration does not allow this authentication method",
    "auth",
    "Security defaults or an authentication policy refuse the way in which the account logs in.",
    sources.HVE_ERRORS,
    "2026-04-07",
    doubt="the source does not have the text to its end",
    modes=ON_SUBMISSION,
    fix="Switch security defaults off, or let the account's authentication policy have AllowBasicAuthSmtp; or use "
    "OAuth.",
    retry="hold",
    only_at=HVE,
)
STS_UNREACHABLE = Answer(
    535,
    "5.7.139",
    _BEGINNING + "federated STS service was unreachable.",
    "auth",
    "The account is federated, and the organization's own sign-in server does not answer.",
    sources.PRINTERS,
    "2024-01-24",
    modes=ON_SUBMISSION,
    fix="Use an account that lives in the cloud only, or bring the federation server back.",
    retry="hold",
    wordings=("federated STS service was unreachable",),
)
STS_WITHOUT_HTTPS = Answer(
    535,
    "5.7.139",
    _BEGINNING + "the federated STS URL does not support HTTPS.",
    "auth",
    "The account is federated, and the organization's own sign-in server does no HTTPS, or TLS that is too old.",
    sources.PRINTERS,
    "2024-01-24",
    modes=ON_SUBMISSION,
    fix="Use an account that lives in the cloud only, or update the federation server.",
    retry="hold",
    wordings=("federated STS URL does not support HTTPS",),
)
BASIC_AUTH_RETIRED = Answer(
    550,
    "5.7.30",
    "Basic authentication is not supported for Client Submission.",
    "auth",
    "A login with a password is not taken any more. Microsoft has announced this reply for the time when Basic "
    "authentication is gone.",
    sources.BASIC_AUTH,
    "2026-01-27",
    doubt="announced, not yet seen; that it comes at AUTH is inferred",
    modes=ON_SUBMISSION,
    fix="Use OAuth, or a relay that does. Without OAuth: High Volume Email for recipients inside, Azure Communication "
    "Services, or a connector.",
    retry="hold",
)
XOAUTH2_MALFORMED = Answer(
    501,
    "5.5.121",
    "",
    "auth",
    "What came with AUTH XOAUTH2 is not in its form: the base64, `user=`, `Bearer`, or the token.",
    sources.HVE_ERRORS,
    "2026-04-07",
    modes=ON_SUBMISSION,
    fix="A fault of the program: it sends base64 of user=, the address, an octet 1, `auth=Bearer `, the token, and two "
    "octets 1.",
    retry="hold",
    until="5.5.126",
    only_at=HVE,
)
TOKEN_EXPIRES_SOON = Answer(
    535,
    "5.7.142",
    "",
    "auth",
    "The OAuth token will expire soon.",
    sources.HVE_ERRORS,
    "2026-04-07",
    modes=ON_SUBMISSION,
    fix="Get a new token and log in again; get them earlier from now on (relays do so 10 to 20 minutes before the "
    "end).",
    retry="hold",
    wordings=("token will expire soon",),
    only_at=HVE,
)
TOKEN_EXPIRED = Answer(
    535,
    "5.7.143",
    "",
    "auth",
    "The OAuth token has expired.",
    sources.HVE_ERRORS,
    "2026-04-07",
    modes=ON_SUBMISSION,
    fix="Get a new token and log in again.",
    retry="hold",
    only_at=HVE,
)
OAUTH_PERMISSIONS = Answer(
    535,
    "5.7.144",
    "",
    "auth",
    "The OAuth token lacks a permission: High Volume Email wants Mail.Send of Office 365 Exchange Online.",
    sources.HVE_ERRORS,
    "2026-04-07",
    modes=ON_SUBMISSION,
    fix="Give the application that permission, with an administrator's consent.",
    retry="hold",
    wordings=("invalid API permissions",),
    only_at=HVE,
)
APPLICATION_NOT_ALLOWED = Answer(
    550,
    "5.7.240",
    "The application is not allowed for use with this High Volume Email account",
    "auth",
    "The application is not on the account's list of allowed ones.",
    sources.HVE_ERRORS,
    "2026-04-07",
    modes=ON_SUBMISSION,
    fix="Add the application's Object ID (the one under Enterprise applications) with Add-HVEAppAccess; it acts after "
    "about five minutes.",
    retry="hold",
    only_at=HVE,
)
TEMPORARY_AUTH_FAILURE = Answer(
    454,
    "4.7.0",
    "Temporary authentication failure",
    "auth",
    "The directory of accounts has a passing fault.",
    "no public source was found",
    "",
    doubt="recalled, not found in a source",
    modes=ON_SUBMISSION,
    fix="Nothing to change; send again later.",
    retry="retry",
)

# MAIL FROM without a login

STARTTLS_REQUIRED = Answer(
    451,
    "5.7.3",
    "STARTTLS is required to send mail",
    "mail",
    "MAIL FROM came in clear text. The code is a temporary one, so a device may try again for hours, in vain.",
    "apache/hertzbeat#2365; NagiosEnterprises/nagioscore#946",
    "2024-07-24",
    modes=ON_SUBMISSION,
    fix='Switch STARTTLS on (in some menus "TLS"; not "SSL"). A device that cannot do it sends at the MX endpoint, or '
    "through a relay.",
    retry="configuration",
)
NOT_AUTHENTICATED = Answer(
    530,
    "5.7.57",
    "Client not authenticated to send mail",
    "mail",
    "No login was made, or it was refused. Where it was refused, the reason follows behind `Error:`.",
    f"{sources.PRINTERS}; MicrosoftDocs/OfficeDocs-Exchange#3124",
    "2026-07-01",
    modes=ON_SUBMISSION,
    fix="Client submission: enter user name and password, and switch authentication on. Direct Send and connector: "
    "enter the MX host of your domain as the server, not smtp.office365.com.",
    retry="hold",
    wordings=("Client was not authenticated to send anonymous mail during MAIL FROM", "Client was not authenticated"),
)
