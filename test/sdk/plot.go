package main

import (
	"fmt"
	"slices"
	"strings"
)

// figure is a plot of a series over time, of all policies.
type figure struct {
	file, title string
	row, metric string
}

var figures = []figure{
	{"sdk-share-light.svg", "Share of the ill server, light callers", "faults-light", "share"},
	{"sdk-errors-light.svg", "Failed calls, light callers", "faults-light", "errors"},
	{"sdk-share-heavy.svg", "Share of the ill server, heavy callers", "faults-heavy", "share"},
	{"sdk-errors-heavy.svg", "Failed calls, heavy callers", "faults-heavy", "errors"},
}

var colours = map[string]string{"skerry_p2c": "#0a6ebd", "p2c_ewma": "#c2410c", "round_robin": "#6b7280"}

// seconds returns a series' median over the seeds, second by second.
func (r *raw) seconds(row, policy, metric string) (out []float64) {
	var runs [][]float64
	for _, s := range r.Series {
		if s.Row == row && s.Policy == policy && s.Metric == metric {
			runs = append(runs, s.Values)
		}
	}
	if len(runs) == 0 {
		return nil
	}
	for n := range slices.MinFunc(runs, func(a, b []float64) int { return len(a) - len(b) }) {
		var at []float64
		for _, v := range runs {
			at = append(at, v[n])
		}
		out = append(out, spreadOf(at).median)
	}
	return out
}

// illnesses are the faults of the rows that are plotted, in their order.
var illnesses = []string{"ten times slower", "half fail", "half fail, fast"}

// span is a time in seconds.
type span struct{ from, to float64 }

// spans returns the times in which a series is not 0.
func spans(values []float64) (out []span) {
	for n, v := range values {
		switch at := float64(n); {
		case v == 0:
		case len(out) > 0 && out[len(out)-1].to == at:
			out[len(out)-1].to++
		default:
			out = append(out, span{at, at + 1})
		}
	}
	return out
}

// ceiling returns the height of a plot: a round number.
func ceiling(v float64) float64 {
	for _, c := range []float64{2, 4, 8, 12, 16, 20, 40, 60, 80} {
		if v <= c {
			return c
		}
	}
	return 100
}

const (
	plotWidth, plotHeight = 860., 300.
	plotLeft, plotRight   = 56., 20.
	plotTop, plotBottom   = 44., 40.
)

// draw returns the plot as SVG.
func (f *figure) draw(r *raw) string {
	length, top := 1, 1.
	lines := map[string][]float64{}
	for _, p := range policies {
		lines[p] = r.seconds(f.row, p, f.metric)
		length = max(length, len(lines[p]))
		for _, v := range lines[p] {
			top = max(top, v)
		}
	}
	top = ceiling(top)
	x := func(second float64) float64 {
		return plotLeft + second/float64(length)*(plotWidth-plotLeft-plotRight)
	}
	y := func(v float64) float64 { return plotHeight - plotBottom - v/top*(plotHeight-plotTop-plotBottom) }
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="12">`, plotWidth, plotHeight)
	p(`<rect width="100%%" height="100%%" fill="#ffffff"/>`)
	p(`<text x="%g" y="20" font-size="14">%s, percent</text>`, plotLeft, f.title)
	// The times of the faults, which all seeds have in common.
	for n, ill := range spans(r.seconds(f.row, "", "ill")) {
		p(`<rect x="%.1f" y="%g" width="%.1f" height="%.1f" fill="#f3e8d3"/>`, x(ill.from), plotTop, x(ill.to)-x(ill.from), y(0)-plotTop)
		if n < len(illnesses) {
			p(`<text x="%.1f" y="%g" text-anchor="middle" fill="#78716c">%s</text>`, x((ill.from+ill.to)/2), plotTop+14, illnesses[n])
		}
	}
	for i := range 5 {
		v := top * float64(i) / 4
		p(`<line x1="%g" x2="%g" y1="%.1f" y2="%.1f" stroke="#d4d4d8"/>`, plotLeft, plotWidth-plotRight, y(v), y(v))
		p(`<text x="%g" y="%.1f" text-anchor="end">%.3g</text>`, plotLeft-6, y(v)+4, v)
	}
	for second := 0; second <= length; second += 10 {
		p(`<text x="%.1f" y="%g" text-anchor="middle">%d s</text>`, x(float64(second)), plotHeight-plotBottom+18, second)
	}
	for n, name := range policies {
		var points []string
		for second, v := range lines[name] {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(float64(second)+.5), y(v)))
		}
		p(`<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`, strings.Join(points, " "), colours[name])
		p(`<text x="%g" y="34" fill="%s">%s</text>`, plotLeft+float64(n)*110, colours[name], name)
	}
	p(`</svg>`)
	return b.String()
}
