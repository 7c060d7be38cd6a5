#!/bin/sh
# One mail by curl, with STARTTLS and a login, as a device should send it: curl.sh [HOST [PORT]]
# --insecure, for relayprobe's certificate is its own. Leave --ssl-reqd out, and see what is found.
set -eu
host=${1:-127.0.0.1} port=${2:-2525}
printf '%s\r\n' 'From: Scanner <scanner@contoso.com>' 'To: anna@contoso.com' 'Subject: Test by curl' '' 'It works.' |
    curl --silent --show-error --url "smtp://$host:$port/mfp01.contoso.com" --ssl-reqd --insecure \
        --user 'scanner@contoso.com:not-a-password' --login-options AUTH=LOGIN \
        --mail-from scanner@contoso.com --mail-rcpt anna@contoso.com --upload-file -
