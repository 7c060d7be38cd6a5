#!/usr/bin/env python3
"""One mail by Python's smtplib, with STARTTLS and a login, as a program should send it: send.py [HOST [PORT]]"""

import smtplib
import ssl
import sys
from email.message import EmailMessage

host = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
port = int(sys.argv[2]) if len(sys.argv) > 2 else 2525

mail = EmailMessage()
mail["From"] = "Reports <scanner@contoso.com>"
mail["To"] = "anna@contoso.com"
mail["Subject"] = "Test by smtplib"
mail.set_content("It works.")

trusting = ssl.create_default_context()  # relayprobe's certificate is its own; towards Office 365 it is checked
trusting.check_hostname = False
trusting.verify_mode = ssl.CERT_NONE

with smtplib.SMTP(host, port, local_hostname="erp.contoso.com") as smtp:
    smtp.starttls(context=trusting)
    smtp.login("scanner@contoso.com", "not-a-password")
    smtp.send_message(mail)
