#!/bin/sh
# Stops the units when the package is removed, and not when it is upgraded. Data and configuration stay.
set -e
case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl disable --now skerry-server.service skerry-agent.service || true
	fi
	;;
esac
