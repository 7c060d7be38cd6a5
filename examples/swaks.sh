#!/bin/sh
# One mail by swaks, with STARTTLS and a login, as a device should send it: swaks.sh [HOST [PORT]]
# Put --tls-on-connect in the place of --tls, or another address after --from, and see what is found.
set -eu
host=${1:-127.0.0.1} port=${2:-2525}
swaks --server "$host" --port "$port" --helo mfp01.contoso.com --tls \
    --auth LOGIN --auth-user scanner@contoso.com --auth-password not-a-password \
    --from scanner@contoso.com --to anna@contoso.com --header 'Subject: Test by swaks' --body 'It works.'
