package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// busyLimit is how busy the processors may be, in percent, for latencies to be those
// of the programs.
const busyLimit = 70

// render writes the report.
func render(r *raw) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p("# What the SDK promises, measured\n\n")
	p("Written by `make bench-sdk`; nothing in it is typed by hand. Real processes on loopback: each server is one, and each policy's\n")
	p("callers are one. %s (%s), %d %s, %s in all. Peers in the same run: %s.\n\n", r.Commit, r.Date, r.Seeds, plural(r.Seeds, "seed"), r.Took, r.Peers)
	p("Machine: %s, shared with others. Figures are the median of all runs (least–most).\n", r.Machine)
	p("A promise is held to the median, unless it says \"each run\" or \"all runs\" (their sum).\n\n")
	p("Load: open loop, Poisson; latency counts from when a call was meant to be sent; deadline 2 s; no retry unless said. In the rows of\n")
	p("faults each policy has ten servers of its own and %s of fault. The cost of an illness depends on how often each\n", r.Ill)
	p("connection is used: ")
	for n, l := range r.Loads {
		if n > 0 {
			p("; ")
		}
		p("%d %s %s, %s calls a second on each connection, servers %.0f %% busy, policies %s", l.Callers, l.Name, plural(l.Callers, "caller"), number(float64(l.Rate)/float64(l.Callers*fleetSize)), 100*l.busy(), order(l.Rate > mostAtOnce))
	}
	p(".\n")
	p("Of go-zero it is the whole client (`zrpc.NewClient`, its defaults) with of its middlewares only that of the deadline.\n")
	if r.Quick {
		p("\n**A quick run: one seed, shortened. It shows that the measurement works, not what the figures are.**\n")
	}
	total, kept, missing := 0, 0, 0
	for _, c := range chapters {
		for _, pr := range c.promises {
			switch pr.verdict(r) {
			case "met":
				kept++
			case "not measured":
				missing++
			case "":
				continue
			}
			total++
		}
	}
	p("\n%d of %d promises are met", kept, total)
	if missing > 0 {
		p("; %d were not measured", missing)
	}
	p(".\n")
	if r.Behind {
		p("\nOur registry is a node agent of a server in this run. Both are killed where the registry is.\n")
	}
	for _, c := range chapters {
		chapterTable(&b, r, c)
	}
	plots(&b, r)
	busy(&b, r)
	return b.String()
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

func order(apart bool) string {
	if apart {
		return "one after another"
	}
	return "at the same time"
}

func chapterTable(b *strings.Builder, r *raw, c chapter) {
	fmt.Fprintf(b, "\n## %s\n\n", c.title)
	if c.text != "" {
		fmt.Fprintf(b, "%s\n\n", c.text)
	}
	b.WriteString("| | promised | skerry_p2c | go-zero p2c_ewma | grpc-go round_robin | |\n|---|---|---|---|---|---|\n")
	for _, p := range c.promises {
		mine := p.who
		if mine == "" {
			mine = ours
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", p.title, p.promised(), p.cell(r, mine), p.cell(r, policies[1]), p.cell(r, policies[2]), p.verdict(r))
	}
	for _, s := range r.Skipped {
		if row, why, _ := strings.Cut(s, ": "); slices.ContainsFunc(c.promises, func(p promise) bool { return p.row == row }) {
			fmt.Fprintf(b, "\nNot measured: %s.\n", why)
		}
	}
}

// plots names the plots that there is data for.
func plots(b *strings.Builder, r *raw) {
	for _, f := range figures {
		if len(r.seconds(f.row, ours, f.metric)) > 0 {
			fmt.Fprintf(b, "\n![%s](%s)\n", f.title, f.file)
		}
	}
}

func busy(b *strings.Builder, r *raw) {
	var rows []string
	for _, s := range r.Samples {
		if s.Policy == "machine" && !slices.Contains(rows, s.Row) {
			rows = append(rows, s.Row)
		}
	}
	if len(rows) == 0 {
		return
	}
	b.WriteString("\n## How busy the processors were\n\n| | busy | |\n|---|---|---|\n")
	for _, row := range rows {
		values := r.values(row, "machine", "busy")
		p := promise{row: row, metric: "busy", unit: "%"}
		note := ""
		if slices.Max(values) > busyLimit {
			note = "busier than " + number(busyLimit) + " %: latencies there are also the machine's"
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", row, p.cell(r, "machine"), note)
	}
}

// write writes the report and its plots into a folder.
func write(r *raw, out string) error {
	if out == "" {
		root, err := moduleDir("github.com/skerryhq/skerry")
		if err != nil {
			return err
		}
		out = filepath.Join(root, "doc", "results")
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, f := range figures {
		if len(r.seconds(f.row, ours, f.metric)) == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(out, f.file), []byte(f.draw(r)), 0o644); err != nil {
			return err
		}
	}
	path := filepath.Join(out, "sdk.md")
	fmt.Println("written:", path)
	return os.WriteFile(path, []byte(render(r)), 0o644)
}
