#!/bin/sh
# Installs, on Debian and its kin, the programs that the tests run beside skerry.
# Without the right to install it only says what is missing; those tests skip.
set -eu

missing=
need() { # need <program> <package>
	command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing="$missing $2"
}
need dig bind9-dnsutils
need haproxy haproxy
need nginx nginx-light
need unbound unbound
need prometheus prometheus
need curl curl
need ip iproute2
need nft nftables
need python3 python3
need npm "nodejs npm"
[ -n "${ZOOKEEPER_HOME:-}" ] || [ -e /usr/share/java/zookeeper.jar ] || missing="$missing zookeeper"
need patroni "patroni python3-consul"
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null 2>&1 || ! sudo -n true 2>/dev/null; then
		echo "not installed, so their tests are skipped:$missing" >&2
		exit 0
	fi
	sudo=sudo
fi
if ! command -v apt-get >/dev/null 2>&1; then
	echo "no apt-get here; please install:$missing" >&2
	exit 0
fi
case $missing in
*postgresql*) # the tests make databases of their own: none is to be started here
	$sudo mkdir -p /etc/postgresql-common/createcluster.d
	echo "create_main_cluster = false" | $sudo tee /etc/postgresql-common/createcluster.d/no-main.conf >/dev/null
	;;
esac
$sudo apt-get -o DPkg::Lock::Timeout=300 -qq update
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $sudo apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $missing
