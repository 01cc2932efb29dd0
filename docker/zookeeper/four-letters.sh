#!/bin/bash
# Asks the server of this container: ruok, srvr, mntr, cons, wchs, ...
#
#   four-letters.sh WORD [PORT]
set -eu
exec 3<>"/dev/tcp/127.0.0.1/${2:-2181}" 2>/dev/null
printf '%s' "$1" >&3
cat <&3
