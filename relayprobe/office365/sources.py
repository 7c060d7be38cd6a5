"""Where the facts about Office 365 come from: public pages, each with the date of the edition that was read.

Microsoft's pages change without notice, and a date tells a reader what to compare. What was seen on the wire has its
own source beside it, in `replies`.
"""

from __future__ import annotations

PRINTERS = (
    "Microsoft, SupportArticles-docs: Fix issues with printers, scanners, and LOB apps that send email using "
    "Microsoft 365 (2024-01-24)"
)
SETUP = (
    "Microsoft Learn: How to set up a multifunction device or application to send email using Microsoft 365 or "
    "Office 365 (2022-03-18 and a later edition without date)"
)
REPLY_CODES = (
    "Microsoft, SupportArticles-docs: Email non-delivery reports and SMTP errors in Exchange Online (2024-03-08)"
)
ENCRYPTION = (
    "Microsoft, microsoft-365-docs: Technical reference details about encryption (2019-09-11, edited until about 2023)"
)
LEGACY_TLS = (
    "Exchange team blog: New opt-in endpoint available for SMTP AUTH clients still needing legacy TLS "
    "(2021-08-18, last edited April 2023)"
)
TLS_AT_MX = (
    "Exchange team blog: Understanding email scenarios if TLS versions cannot be agreed on with Exchange Online "
    "(2021-01-15)"
)
BASIC_AUTH = (
    "Microsoft message centre, MC786329 (2026-01-27), and Exchange team blog: Exchange Online to retire Basic auth for "
    "Client Submission (SMTP AUTH)"
)
OAUTH = "Microsoft: Authenticate an IMAP, POP or SMTP connection using OAuth (2025-09-07)"
RELAY_RULES = (
    "Exchange team blog: Updated Requirements for SMTP Relay through Exchange Online (2023-06-19, edited 2023-11-13)"
)
RELAY_DENIED = (
    "Microsoft, SupportArticles-docs: 550 5.7.64 TenantAttribution when sending emails through Microsoft 365 "
    "(2024-01-24)"
)
SHARED_ADDRESSES = "Microsoft message centre, MC1226222: on-premises connector guidance (2026-02-04)"
DIRECT_SEND = (
    "Exchange team blog: Introducing more control over Direct Send in Exchange Online (2025-04-28, questions added "
    "2025-08-12)"
)
HVE = (
    "Microsoft Learn: Manage High Volume Email for Microsoft 365 (2026); message centre, MC1243552 (2026-03-04 and "
    "2026-05-21)"
)
HVE_REPLIES = "ercankskn/postfix-entra-relay (August 2026), from live tests"
HVE_INTERNAL = "Petri: High Volume Email Service to Restrict Email Delivery to Internal Recipients Next Month (2025)"
ACS = (
    "Microsoft, azure-docs: How to create authentication credentials for sending emails using SMTP (2023-10-18) and "
    "pull request 127954 (2025-11-30)"
)
MX_NAMES = "Microsoft message centre, MC1048624: accepted domains under mx.microsoft (2026-02-02)"
SENDING_LIMITS = "Microsoft, defender-docs: Troubleshoot outbound sending limits in Exchange Online (2026-05-26)"
CONCURRENT = (
    "Microsoft, SupportArticles-docs: Changes in message store and throttling for concurrent connections (2024-01-24)"
)
BARE_LINE_FEEDS = (
    "Microsoft, OfficeDocs-Exchange: Fix email delivery issues for error code 550 5.6.11 in Exchange Online "
    "(as quoted in notqmail/notqmail#239, 2022-09-15)"
)
FIELD_MANUAL = "ActiveCampaign/smtp-field-manual, collected replies (2025-02-10)"
PENALTIES = "Microsoft, OfficeDocs-Exchange: Continuous error throttling for SMTP AUTH submissions (October 2021)"
WRONG_REGION = "Microsoft, SupportArticles-docs: ATTR35 response code when mail is sent to EOP/EXO (2022-03-31)"
CERTIFICATE_RELAY = (
    "Microsoft, SupportArticles-docs: Configure a certificate-based connector to relay email messages through "
    "Office 365 (as seen on 2024-01-24)"
)
RECIPIENT_REJECTED = "Microsoft, SupportArticles-docs: Fix NDR error 550 5.4.1 in Exchange Online (2026-10-02)"
BAD_SENDER = "Microsoft, SupportArticles-docs: Fix NDR error 550 5.1.8 in Exchange Online (2026-10-02)"
TENANT_BLOCKED = (
    "Microsoft, SupportArticles-docs: Fix NDR error codes 550 5.7.703, 550 5.7.705, 550 5.7.708, and 550 5.7.750 "
    "(2026-10-02)"
)
CUSTOMER_ALLOW_LIST = (
    "Microsoft, SupportArticles-docs: 5.7.1 Unable to Relay: Blocked by Customer Allow List (2024-01-24)"
)
THROTTLED = "Microsoft, defender-docs: Troubleshooting mail sent to Microsoft 365 (2023-06-15)"
HVE_ERRORS = "a public quick reference on the errors of High Volume Email, made from Microsoft Learn (2026-04-07)"
HVE_TESTS = "ercankskn/postfix-entra-relay, replies in live tests (August 2026)"
OAUTH_CHECKLIST = "a public checklist for sending through Exchange Online (2026)"
DELIVERY_CODES = "a public dictionary of delivery codes (2026)"
ONMICROSOFT_LIMIT = "windowsnews.ai and windowsforum.com on the limit for onmicrosoft.com addresses (2025)"
