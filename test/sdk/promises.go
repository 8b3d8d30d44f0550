package main

import (
	"fmt"
	"slices"
	"strconv"
)

// promise is a figure that the SDK is held to, or, with no limit, one that is shown.
type promise struct {
	row, metric string
	title       string
	unit        string
	judge       judge
	limit       float64
	least       bool   // the limit is the least, not the most
	who         string // whose figure it is, if not skerry_p2c's
}

// judge is how the figures of all seeds become the one that is held to the limit.
type judge uint8

const (
	shown  judge = iota // there is no limit
	median              // of all runs
	every               // each run must keep it: the worst one counts
	sum                 // of all runs
)

// chapter is a table of the report.
type chapter struct {
	title, text string
	promises    []promise
}

func most(row, metric, title, unit string, by judge, limit float64) promise {
	return promise{row: row, metric: metric, title: title, unit: unit, judge: by, limit: limit}
}

func least(row, metric, title, unit string, by judge, limit float64) promise {
	return promise{row: row, metric: metric, title: title, unit: unit, judge: by, limit: limit, least: true}
}

func show(row, metric, title, unit string) promise {
	return promise{row: row, metric: metric, title: title, unit: unit}
}

// by is the promise as that of another name among the policies.
func (p promise) by(who string) promise { p.who = who; return p }

var chapters = []chapter{
	{"One server of ten is ten times slower", "", []promise{
		most("slow-light", "share", "light callers: its share of the calls", "%", median, 1),
		most("slow-light", "p99 ratio", "light callers: p99, in times the healthy p99", "×", median, 1.25),
		show("slow-light", "p99", "light callers: p99", "ms"),
		show("slow-light", "healthy p99", "light callers: p99 before", "ms"),
		most("slow-light", "errors", "light callers: failed calls", "%", every, 0),
	}},
	{"One server of ten fails half of its calls", "After work, or at once (\"fast\").", []promise{
		most("half-light", "share", "light callers: its share", "%", median, 2),
		most("half-light", "errors", "light callers: failed calls", "%", median, 1),
		most("fast-light", "share", "light callers, fast: its share", "%", median, 2),
		most("fast-light", "errors", "light callers, fast: failed calls", "%", median, 1),
		most("half-heavy", "errors", "heavy callers: failed calls", "%", median, .1),
	}},
	{"The same with one retry", "", []promise{
		most("half-light-retry", "errors", "light callers: failed calls", "%", median, .01),
		most("fast-light-retry", "errors", "light callers, fast: failed calls", "%", median, .01),
	}},
	{"The server is healed", "Its share of the calls, in hundredths of the fair one, from 15 to 20 s after.", []promise{
		least("slow-light", "healed", "was slow, light callers", "%", median, 90),
		least("half-light", "healed", "had failed, light callers", "%", median, 90),
	}},
	{"Rolling restart", "From three servers to six, a new one for each that goes. Ours are in a Skerry agent, go-zero's own in etcd; round_robin has no registry.", []promise{
		least("rolling", "calls", "calls", "", sum, 1e6),
		most("rolling", "failed", "failed calls", "", sum, 0),
		show("rolling", "restarts", "servers started", ""),
	}},
	{"The registry is dead", "Every server restarts twice meanwhile, then the caller starts anew, then the registry comes back without its data. Once, beside the other rows. The servers that are called are ours for both, in an agent and in etcd.", []promise{
		show("registry", "dead s", "dead for", "s"),
		show("registry", "calls", "calls", ""),
		most("registry", "failed", "failed calls", "", every, 0),
		least("registry", "server starts", "a server starts (1: yes)", "", every, 1),
		least("registry", "starts", "a caller starts (1: yes)", "", every, 1),
		most("registry", "start ms", "from the start of its process to its first list", "ms", every, 100),
		most("registry", "failed after start", "failed calls after that, and when the registry is back and empty", "", every, 0),
		least("registry", "fewest servers", "of three servers, called while the registry is empty", "", every, 3),
	}},
	{"One of three addresses of the registry is dead at the start", "", []promise{
		least("one dead", "starts", "a caller starts (1: yes)", "", every, 1),
		show("one dead", "start ms", "from the start of its process to its first list or connection", "ms"),
		show("one dead", "gave up s", "gave up after", "s"),
	}},
	{"A server is killed", "One of ten, by SIGKILL; 5 callers, 200 calls a second.", []promise{
		most("kill", "last", "the last failing call was sent after it by", "ms", every, 100),
		most("kill", "failed beyond", "calls failed beyond those that were under way at it", "", every, 0),
		show("kill", "failed", "calls failed", ""),
	}},
	{"A server hangs", "One of ten, by SIGSTOP, for 20 s.", hang("stop")},
	{"A link drops everything without a word", "That of one of five servers, for 20 s.", hang("drop")},
	{"A thousand servers", "300 callers, 32 connections each, computed from the code that chooses them.", []promise{
		most("subset", "connections", "by place on a ring: new connections of a caller for each server replaced", "", median, .2).by("skerry_p2c, by ring"),
		most("subset", "max/mean", "by place on a ring: most connections of a server, by their mean", "", median, 1.1).by("skerry_p2c, by ring"),
		most("subset", "connections", "by hash: new connections of a caller for each server replaced", "", median, .2).by("skerry_p2c, by hash"),
		most("subset", "max/mean", "by hash: most connections of a server, by their mean", "", median, 2.1).by("skerry_p2c, by hash"),
	}},
}

func hang(row string) []promise {
	return []promise{
		most(row, "last", "the last failing call was sent after it by", "s", every, 3),
		most(row, "failed per caller", "failed calls of the caller that lost most", "", every, 2),
		show(row, "failed", "failed calls", ""),
		show(row, "p99", "p99 meanwhile", "ms"),
	}
}

// values returns a figure of one policy, of all seeds.
func (r *raw) values(row, policy, metric string) (out []float64) {
	for _, s := range r.Samples {
		if s.Row == row && s.Policy == policy && s.Metric == metric {
			out = append(out, s.Value)
		}
	}
	return out
}

// verdict judges our figure.
func (p *promise) verdict(r *raw) string {
	who := p.who
	if who == "" {
		who = ours
	}
	values := r.values(p.row, who, p.metric)
	switch {
	case p.judge == shown:
		return ""
	case len(values) == 0:
		return "not measured"
	case p.met(values):
		return "met"
	}
	return "**not met**"
}

func (p *promise) met(values []float64) bool {
	var v float64
	switch p.judge {
	case median:
		v = spreadOf(values).median
	case every:
		if v = slices.Max(values); p.least {
			v = slices.Min(values)
		}
	case sum:
		v = total(values)
	}
	if p.least {
		return v >= p.limit
	}
	return v <= p.limit
}

func total(values []float64) (sum float64) {
	for _, v := range values {
		sum += v
	}
	return sum
}

// promised returns the limit in words.
func (p *promise) promised() string {
	if p.judge == shown {
		return ""
	}
	sign := "≤ "
	if p.least {
		sign = "≥ "
	}
	text := sign + number(p.limit) + unit(p.unit)
	switch p.judge {
	case every:
		text += ", each run"
	case sum:
		text += ", all runs"
	}
	return text
}

// cell is a figure of one policy as the table has it.
func (p *promise) cell(r *raw, policy string) string {
	values := r.values(p.row, policy, p.metric)
	if len(values) == 0 {
		return "–"
	}
	if p.judge == sum {
		return number(total(values)) + unit(p.unit)
	}
	s := spreadOf(values)
	if s.min == s.max {
		return number(s.median) + unit(p.unit)
	}
	return fmt.Sprintf("%s%s (%s–%s)", number(s.median), unit(p.unit), number(s.min), number(s.max))
}

func unit(u string) string {
	if u == "" {
		return ""
	}
	return " " + u
}

// number writes a figure with as many digits as it deserves.
func number(v float64) string {
	switch a := max(v, -v); {
	case v == float64(int64(v)):
		return grouped(int64(v))
	case a >= 100:
		return grouped(int64(v + .5))
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= .1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

// grouped separates thousands by commas.
func grouped(v int64) string {
	text := strconv.FormatInt(v, 10)
	for at := len(text) - 3; at > 0 && text[at-1] != '-'; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}
