#!/bin/sh
# Makes the user and the folders. It starts nothing, and restarts nothing after an upgrade: servers are restarted one
# after the other, when the others are whole.
set -e
if command -v systemd-sysusers >/dev/null 2>&1; then
	systemd-sysusers skerry.conf
elif ! getent passwd skerry >/dev/null; then
	useradd --system --home-dir /var/lib/skerry --shell /usr/sbin/nologin --comment "Skerry service registry" skerry
fi
chgrp skerry /etc/skerry/conf.d
install -d -m 0700 -o skerry -g skerry /var/lib/skerry
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
