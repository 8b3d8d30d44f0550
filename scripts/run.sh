#!/bin/sh
# Builds skerry, runs a development agent with the two samples beside it, shows
# them found by HTTP and by DNS, and leaves the agent running until Ctrl-C.
# Needs Go; uses curl and dig where they are.
set -eu
cd "$(dirname "$0")/.."
mkdir -p bin
go build -o bin/skerry ./cmd/skerry
go build -o bin/timeserver ./examples/timeservice/server
go build -o bin/timeclient ./examples/timeservice/client
go build -o bin/fileserver ./examples/fileserver
go build -o bin/ask ./scripts/ask
CONSUL_HTTP_ADDR=127.0.0.1:8500
export CONSUL_HTTP_ADDR

started=
agent=
leave() {
	trap - EXIT INT TERM
	# The samples first: they want to withdraw.
	for p in $started; do kill -TERM "$p" 2>/dev/null || true; done
	for p in $started; do wait "$p" 2>/dev/null || true; done
	if [ -n "$agent" ]; then
		kill -TERM "$agent" 2>/dev/null || true
		wait "$agent" 2>/dev/null || true
	fi
}
trap leave EXIT
trap 'exit 0' INT TERM

bin/skerry agent -dev -log-level warn &
agent=$!
bin/ask wait "http://$CONSUL_HTTP_ADDR/v1/status/leader" :
kill -0 "$agent" 2>/dev/null || exit 1

bin/timeserver &
started="$started $!"
if command -v curl >/dev/null 2>&1; then
	PORT=8000 sh examples/fileserver/fileserver.sh &
	started="$started $!"
else
	bin/fileserver -listen 127.0.0.1:8000 &
	started="$started $!"
	bin/ask put "http://$CONSUL_HTTP_ADDR/v1/agent/service/register" '{"ID": "files-8000", "Name": "files", "Address": "127.0.0.1",
		"Port": 8000, "Check": {"HTTP": "http://127.0.0.1:8000/", "Interval": "3s", "Timeout": "2s"}}'
fi

for service in time files; do
	url="http://$CONSUL_HTTP_ADDR/v1/health/service/$service?passing"
	bin/ask wait "$url" '"Service":'
	echo
	echo "== $service by HTTP: $url"
	bin/ask instances "$url"
	echo "== $service by DNS: $service.service.consul SRV"
	if command -v dig >/dev/null 2>&1; then
		dig @127.0.0.1 -p 8600 "$service.service.consul" SRV +noall +answer +additional
	else
		bin/ask srv 127.0.0.1:8600 "$service.service.consul"
	fi
done
echo
echo "== the time, from the instance that the client found"
bin/timeclient -calls 1
echo
echo "The agent runs on. Try: bin/skerry catalog services, or bin/skerry explain time. Ctrl-C ends it."
wait "$agent"
