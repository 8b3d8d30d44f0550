"""Uses the API as programs do, with python-consul or python-consul2: PORT is the agent's."""

import sys
import threading
import time

import consul

c = consul.Consul(host="127.0.0.1", port=int(sys.argv[1]))


def check(what, ok):
    if not ok:
        sys.exit("python: " + what)


# Services and checks, and a waiter that is woken by their change.
c.agent.service.register("web", service_id="web-1", address="10.1.1.1", port=80, tags=["blue"], check=consul.Check.ttl("1h"))
index, nodes = c.health.service("web", passing=True)
check("a service that no check has passed is passing: %s" % nodes, nodes == [])
woken = []
waiter = threading.Thread(target=lambda: woken.append(c.health.service("web", passing=True, index=index, wait="20s")))
waiter.start()
time.sleep(0.3)
began = time.time()
check("a check cannot pass", c.agent.check.ttl_pass("service:web-1"))
waiter.join()
check("the waiter was not woken in time", time.time() - began < 5)
check("the waiter saw %s" % woken, [n["Service"]["ID"] for n in woken[0][1]] == ["web-1"])
_, nodes = c.health.service("web", tag="green")
check("a tag that none has: %s" % nodes, nodes == [])
check("the list of services", c.catalog.services()[1]["web"] == ["blue"])
check("the catalog's service", c.catalog.service("web")[1][0]["ServiceAddress"] == "10.1.1.1")
c.catalog.register("far", "10.2.2.2", service={"service": "db", "port": 5432})
check("an external service", c.catalog.service("db")[1][0]["Address"] == "10.2.2.2")
c.catalog.deregister("far")
check("an external service that is gone", c.catalog.service("db")[1] == [])

# Keys, as they are and by check-and-set.
check("a put", c.kv.put("app/a", "1"))
index, pair = c.kv.get("app/a")
check("a get: %s" % pair, pair["Value"] == b"1")
check("a stale check-and-set is taken", not c.kv.put("app/a", "3", cas=pair["ModifyIndex"] - 1))
check("a check-and-set", c.kv.put("app/a", "2", cas=pair["ModifyIndex"]))
check("keys", c.kv.get("app/", keys=True)[1] == ["app/a"])
check("no key", c.kv.get("none")[1] is None)

# A lock is one holder's, until its session ends.
first = c.session.create(name="first", behavior="delete", lock_delay=0, ttl=10)
second = c.session.create(name="second", lock_delay=0, ttl=10)
check("the first takes it", c.kv.put("lock", "first", acquire=first))
check("the second takes it too", not c.kv.put("lock", "second", acquire=second))
check("a renewal", c.session.renew(first)["TTL"] == "10s")
check("the first ends", c.session.destroy(first))
check("what it held is there", c.kv.get("lock")[1] is None)
check("the second cannot take it", c.kv.put("lock", "second", acquire=second))
check("its holder", c.kv.get("lock")[1]["Session"] == second)
check("it cannot be given back", c.kv.put("lock", "", release=second))
c.session.destroy(second)
try:
    c.session.renew(second)
    sys.exit("python: a session that is gone is renewed")
except consul.NotFound:
    pass

# All that was made goes.
check("the service goes", c.agent.service.deregister("web-1"))
check("it is there still", c.catalog.service("web")[1] == [])
check("the leader", c.status.leader() != "")
print("done")
