#!/bin/sh
# Starts a file server, registers it with an HTTP check, and withdraws it when
# this script is told to end. Needs Go and curl. Works with Skerry and Consul.
#
#   CONSUL_HTTP_ADDR  the registry's address, default 127.0.0.1:8500
#   PORT              of the file server, default 8000
#   DIR               the folder to serve, default the present one
#   NAME              of the service, default files
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
registry=${CONSUL_HTTP_ADDR:-127.0.0.1:8500}
registry=http://${registry#http://}
port=${PORT:-8000}
dir=$(CDPATH='' cd -- "${DIR:-.}" && pwd)
name=${NAME:-files}
id=$name-$port

tmp=$(mktemp -d)
server=
registered=
leave() {
	trap - EXIT INT TERM
	# First nobody new is sent here, then the server ends.
	if [ -n "$registered" ]; then
		curl -fsS -X PUT "$registry/v1/agent/service/deregister/$id" && echo "$id is withdrawn"
	fi
	if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi
	rm -rf "$tmp"
}
trap leave EXIT
trap 'exit 0' INT TERM

(cd "$here" && go build -o "$tmp/fileserver" .)
"$tmp/fileserver" -listen "127.0.0.1:$port" -dir "$dir" &
server=$!
until curl -fsS -o "$tmp/answer" "http://127.0.0.1:$port/" 2>"$tmp/error"; do
	kill -0 "$server" 2>/dev/null || { echo "the file server ended" >&2; exit 1; }
	sleep 0.1
done

registered=yes # from now on: this script may be told to end before it has the answer
curl -fsS -X PUT "$registry/v1/agent/service/register" --data @- <<JSON
{
  "ID": "$id",
  "Name": "$name",
  "Address": "127.0.0.1",
  "Port": $port,
  "Check": {
    "Name": "the folder is served",
    "HTTP": "http://127.0.0.1:$port/",
    "Interval": "3s",
    "Timeout": "2s"
  }
}
JSON
echo "$id is registered"
wait "$server"
