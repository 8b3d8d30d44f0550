// Uses the API as programs do, with the npm package consul: PORT is the agent's.
const assert = require("assert");
const Consul = require("consul");

const consul = new Consul({ host: "127.0.0.1", port: process.argv[2] });

// changed waits for a watch to see what is wanted.
function changed(options, wanted) {
  return new Promise((resolve, reject) => {
    const watch = consul.watch(options);
    watch.on("change", (data) => {
      if (wanted(data)) {
        watch.end();
        resolve(data);
      }
    });
    watch.on("error", reject);
  });
}

async function main() {
  await consul.agent.service.register({ id: "web-1", name: "web", address: "10.1.1.1", port: 80, tags: ["blue"], check: { ttl: "1h" } });
  assert.deepStrictEqual(await consul.health.service({ service: "web", passing: true }), []);
  const seen = changed({ method: consul.health.service, options: { service: "web", passing: true } }, (list) => list.length === 1);
  await consul.agent.check.pass("service:web-1");
  assert.strictEqual((await seen)[0].Service.ID, "web-1");
  assert.deepStrictEqual((await consul.catalog.service.list()).web, ["blue"]);
  assert.strictEqual((await consul.agent.service.list())["web-1"].Port, 80);

  assert.strictEqual(await consul.kv.set("app/a", "1"), true);
  const pair = await consul.kv.get("app/a");
  assert.strictEqual(pair.Value, "1");
  assert.strictEqual(await consul.kv.set({ key: "app/a", value: "2", cas: String(pair.ModifyIndex) }), true);
  // It makes undefined of a refusal.
  assert.ok(!(await consul.kv.set({ key: "app/a", value: "3", cas: String(pair.ModifyIndex) })));
  assert.deepStrictEqual(await consul.kv.keys("app/"), ["app/a"]);

  const first = (await consul.session.create({ ttl: "10s", behavior: "delete", lockdelay: "0s" })).ID;
  const second = (await consul.session.create({ ttl: "10s", lockdelay: "0s" })).ID;
  assert.strictEqual(await consul.kv.set({ key: "lock", value: "first", acquire: first }), true);
  assert.ok(!(await consul.kv.set({ key: "lock", value: "second", acquire: second })));
  const free = changed({ method: consul.kv.get, options: { key: "lock" } }, (pair) => pair === undefined);
  await consul.session.destroy(first);
  await free;
  assert.strictEqual(await consul.kv.set({ key: "lock", value: "second", acquire: second }), true);
  await consul.session.destroy(second);

  const results = await consul.transaction.create([{ KV: { Verb: "set", Key: "app/b", Value: Buffer.from("3").toString("base64") } }, { KV: { Verb: "get", Key: "app/a" } }]);
  assert.strictEqual(results.Results.length, 2);

  const query = await consul.query.create({ name: "blue", service: { service: "web", onlypassing: true, tags: ["blue"] } });
  assert.strictEqual((await consul.query.execute({ query: "blue" })).Nodes.length, 1);
  await consul.query.destroy({ query: query.ID });

  await consul.agent.service.deregister("web-1");
  assert.deepStrictEqual(await consul.catalog.service.nodes("web"), []);
  console.log("done");
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
