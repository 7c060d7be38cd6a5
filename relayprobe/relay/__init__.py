"""Office 365's side: routes, the spool's way out, pace, sign-in, delivery, notices. aiosmtplib lives here only."""
