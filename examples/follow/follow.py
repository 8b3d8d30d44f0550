"""Prints the instances of services as they change: follow.py http://127.0.0.1:8500 web db"""
import json, sys, time, urllib.parse, urllib.request

known, resume = {}, ""
while True:
    query = urllib.parse.urlencode({"service": sys.argv[2:], "resume": resume}, doseq=True)
    try:
        with urllib.request.urlopen(f"{sys.argv[1]}/v1/skerry/follow?{query}") as stream:
            kind = event_id = ""
            for line in stream:
                field, _, value = line.decode().rstrip("\n").partition(": ")
                if field == "event": kind = value
                elif field == "id": event_id = value
                elif field == "data" and kind == "view":
                    e = json.loads(value)
                    service = known.setdefault(e["Service"], {})
                    if e.get("Whole"): service.clear()
                    for x in e.get("Entries", []):
                        service[x["Node"]["Node"], x["Service"]["ID"]] = (x["Service"]["Address"] or x["Node"]["Address"], x["Service"]["Port"])
                    for key in [(x["Node"]["Node"], x["Service"]["ID"]) for x in e.get("Draining", [])] + [(x["Node"], x["ID"]) for x in e.get("Removed", [])]:
                        service.pop(key, None)
                    resume = event_id
                    print(e["Service"], len(service), sorted(service.values()), flush=True)
    except OSError as error:
        print(error, file=sys.stderr)  # the list stays as it was
    time.sleep(1)
