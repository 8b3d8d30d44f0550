datacenter = "a b"
node_name = "a b"
node_id = "x"
node_meta { "consul-x" = "1", "ä" = "2" }
bind_addr = "localhost"
client_addr = "0.0.0.0:8500"
advertise_addr = "0.0.0.0"
advertise_addr_ipv6 = "10.0.0.1"
addresses { dns = "unix:///x", grpc = "127.0.0.1", https = "127.0.0.1", grpc_tls = "127.0.0.1" }
ports { http = 70000, https = 1, grpc = 1, grpc_tls = -2 }
unix_sockets { mode = "rw" }
bootstrap = true
bootstrap_expect = -1
log_level = "loud"
log_rotate_bytes = -1
log_rotate_max_files = -2
log_rotate_duration = "0s"
domain = "a..b"
recursors = ["ns.example", "0.0.0.0", "[::]:8600", "::ffff:0.0.0.0"]
dns_config { recursor_strategy = "best", udp_answer_limit = -1, node_ttl = "-1s", service_ttl { a = "-1s" }, soa { refresh = -1 }, udp_max = 511, rate_limit { responses_per_second = 0, slip = 101, exempt = ["10.0.0.0"] } }
telemetry { prefix_filter = ["consul"] }
http_config { allow_write_http_from = ["10.0.0.0"], block_endpoints = ["v1"], max_header_bytes = -1 }
limits { kv_max_value_size = 0, request_limits { mode = "x" } }
tls { defaults { cert_file = "x", verify_incoming = true, tls_min_version = "1.2", tls_cipher_suites = "TLS_RSA_WITH_AES_128_GCM_SHA256,AES" } }
default_query_time = "20m"
reconnect_timeout = "1h"
canary_interval = "10ms"
guard { share = 2, hold = "0s" }
lease { min_ttl = "48h" }
acl { default_policy = "maybe", down_policy = "x", preset = "closed", audit { rotate_bytes = -1, rotate_duration = "-1h", rotate_max_files = -1 } }
quorum { endpoints = ["etcd-1:2379", "ftp://etcd-2"], prefix = "ours", cert_file = "x", quota = 1 }
session_ttl_min = "0s"
services = [{ name = "a", check { args = ["x"], interval = "1s", id = "c" } }, { name = "a", check { id = "c", ttl = "1s" } }]
check { name = "n", service_id = "zz", ttl = "1s" }
