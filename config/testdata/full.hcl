# A configuration as a Consul operator has it.
datacenter = "Fra1"
node_name  = "web-1.example"
node_id    = "9a4d3f8e-0000-4000-8000-1234567890ab"
node_meta {
  rack = "r7"
  os   = "linux"
}
data_dir         = "/var/lib/skerry"
server           = true
bootstrap_expect = 3
client_addr      = "127.0.0.1 ::1"
bind_addr        = "127.0.0.1"
retry_join       = ["10.0.0.1", "10.0.0.2", "provider=aws tag_key=role tag_value=consul"]
retry_interval   = "10s"

addresses {
  http = "127.0.0.1 unix:///run/skerry/http.sock"
}
ports {
  https = 8501
  dns   = 53
}
unix_sockets {
  group = "web"
  mode  = "0660"
}
domain    = "example."
alt_domain = "consul"
recursors = ["192.0.2.53", "[2001:db8::53]:5353"]
dns_config {
  node_ttl    = "5s"
  service_ttl {
    "web"   = "10s"
    "api-*" = "15s"
  }
  only_passing = true
  soa { min_ttl = 30 }
  udp_max = 4096
  rate_limit {
    responses_per_second = -1
    slip                 = 2
    exempt               = ["10.0.0.0/8", "fd00::/8"]
  }
}

service {
  name = "web"
  port = 8080
  tags = ["v1", "green"]
  tagged_addresses {
    wan = { address = "192.0.2.7", port = 80 }
  }
  meta { version = "1.2.3" }
  weights { passing = 10 }
  check {
    http     = "http://127.0.0.1:8080/health"
    interval = "5s"
    header { Accept = ["text/plain"] }
  }
  checks = [
    { id = "web-tcp", tcp = "127.0.0.1:8080", interval = "10s", DeregisterCriticalServiceAfter = "2m" },
    { TTL = "30s", Status = "passing" },
  ]
}
service {
  id           = "db-1"
  name         = "db"
  socket_path  = "/run/db.sock"
  locality     = { region = "eu", zone = "a" }
  connect { sidecar_service { proxy { upstreams = [{ destination_name = "web", local_bind_port = 9191 }] config { a_b = 1 } } } }
}
check {
  id        = "disk"
  name      = "disk space"
  args      = ["/usr/local/bin/disk", "-warn", "10"]
  interval  = "1m"
}
enable_local_script_checks = true
watches = [
  { type = "service", service = "web", args = ["/usr/local/bin/changed"] },
]

log_level = "warn"
ui_config { enabled = true }
tls {
  defaults {
    ca_file   = "/etc/skerry/ca.pem"
    cert_file = "/etc/skerry/cert.pem"
    key_file  = "/etc/skerry/key.pem"
  }
  https { verify_incoming = true }
}
acl {
  enabled        = true
  default_policy = "deny"
  tokens { agent = "root" }
}
telemetry {
  prometheus_retention_time = "60s"
  disable_hostname          = true
  prefix_filter             = ["+consul.rpc", "-consul.http"]
}
limits {
  http_max_conns_per_client = 500
  rpc_rate                  = 100.5
  request_limits { mode = "permissive", read_rate = 1000 }
}
http_config {
  response_headers { "Access-Control-Allow-Origin" = "*" }
  block_endpoints = ["/v1/operator"]
}
connect { enabled = true }
performance { raft_multiplier = 1, leave_drain_time = "1s" }
guard { share = 0.25, window = "10s" }
lease { min_ttl = "2s" }
watch_dir = "/etc/skerry/services"
