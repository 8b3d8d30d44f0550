datacentre = "x"
dns_config {
  servce_ttl { web = "10s" }
  node_ttl = "soon"
  recursor_strategy = 7
}
ports { dns = "abc", http = 85.5 }
recursors = "192.0.2.1"
node_meta = ["a"]
server = "true"
services = [{ port = 1 }, "web", { name = "x", check = { interval = "1s" } }, { name = "y", check { http = "http://x" } }]
check { http = "http://x", interval = "1s" }
check { name = "both", http = "http://x", interval = "1s", ttl = "3s" }
check { name = "n", ttl = "3s", status = "fine" }
watches = [{ type = "services" }, { type = "wether", args = ["x"] }, { args = ["x"] }]
qwertzuiop_asdfghjkl = 1
tls { https { cert = "x" } }
