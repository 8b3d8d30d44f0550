#!/bin/sh
# Builds skerry, runs a server and an agent that is attached to it, with the two samples
# registered at the agent, shows them found by HTTP and by DNS at both, and leaves all
# running until Ctrl-C. Needs Go; uses curl and dig where they are.
set -eu
cd "$(dirname "$0")/.."
mkdir -p bin
go build -o bin/skerry ./cmd/skerry
go build -o bin/timeserver ./examples/timeservice/server
go build -o bin/timeclient ./examples/timeservice/client
go build -o bin/fileserver ./examples/fileserver
go build -o bin/ask ./scripts/ask
data=$(mktemp -d)
# The samples and their caller know the agent alone.
CONSUL_HTTP_ADDR=127.0.0.1:8501
export CONSUL_HTTP_ADDR

started=
agent=
server=
leave() {
	trap - EXIT INT TERM
	# The samples first: they want to withdraw.
	for p in $started; do kill -TERM "$p" 2>/dev/null || true; done
	for p in $started; do wait "$p" 2>/dev/null || true; done
	for p in $agent $server; do
		kill -TERM "$p" 2>/dev/null || true
		wait "$p" 2>/dev/null || true
	done
	rm -rf "$data"
}
trap leave EXIT
trap 'exit 0' INT TERM

bin/skerry agent -server -node server-1 -data-dir "$data/server" -bind 127.0.0.1 -log-level warn &
server=$!
bin/ask wait http://127.0.0.1:8500/v1/status/leader :
kill -0 "$server" 2>/dev/null || exit 1
bin/skerry agent -node web-1 -retry-join 127.0.0.1 -data-dir "$data/agent" -bind 127.0.0.1 -http-port 8501 -dns-port 8601 -log-level warn &
agent=$!
bin/ask wait "http://$CONSUL_HTTP_ADDR/v1/status/ready" '"Ready":true'
kill -0 "$agent" 2>/dev/null || exit 1

bin/timeserver -registry "skerry://$CONSUL_HTTP_ADDR" &
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
	for at in server:8500:8600 agent:8501:8601; do
		dns=${at##*:}
		at=${at%:*}
		url="http://127.0.0.1:${at#*:}/v1/health/service/$service?passing"
		bin/ask wait "$url" '"Service":'
		echo
		echo "== $service at the ${at%:*} by HTTP: $url"
		bin/ask instances "$url"
		echo "== $service at the ${at%:*} by DNS on port $dns: $service.service.consul SRV"
		if command -v dig >/dev/null 2>&1; then
			dig @127.0.0.1 -p "$dns" "$service.service.consul" SRV +noall +answer +additional
		else
			bin/ask srv "127.0.0.1:$dns" "$service.service.consul"
		fi
	done
done
echo
echo "== the time, from the instance that the client found"
bin/timeclient -registry "skerry://$CONSUL_HTTP_ADDR" -calls 1
echo
echo "The server (127.0.0.1:8500) and the agent ($CONSUL_HTTP_ADDR) run on. Try: bin/skerry catalog services,"
echo "bin/skerry explain time, or bin/skerry info -http-addr $CONSUL_HTTP_ADDR. Ctrl-C ends them."
wait "$server"
