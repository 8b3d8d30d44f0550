package main

import (
	"fmt"
	"math"
	"strings"
)

// curve is a figure at several sizes.
type curve struct {
	name, color string
	sizes       []int
	values      []float64 // µs
}

// The plot's frame, in its own units.
const (
	plotLeft, plotTop      = 60.0, 30.0
	plotWidth, plotHeight  = 560.0, 260.0
	plotBottom, plotRight  = plotTop + plotHeight, plotLeft + plotWidth
	plotMarginX, plotLabel = 20.0, 18.0
)

// plot draws curves over the logarithm of their sizes, as SVG. The vertical axis begins at zero.
func plot(title string, curves []curve) string {
	low, high, top := math.MaxInt, 0, 0.0
	for _, c := range curves {
		for i, n := range c.sizes {
			low, high, top = min(low, n), max(high, n), max(top, c.values[i])
		}
	}
	top = 100 * math.Ceil(top/100)
	x := func(n int) float64 {
		return plotLeft + plotMarginX + (plotWidth-2*plotMarginX)*math.Log(float64(n)/float64(low))/math.Log(float64(high)/float64(low))
	}
	y := func(v float64) float64 { return plotBottom - plotHeight*v/top }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="12">`+"\n", plotRight+plotLeft, plotBottom+3*plotLabel)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="%.0f" y="%.0f">%s</text>`+"\n", plotLeft, plotLabel, title)
	for v := 0.0; v <= top; v += top / 4 {
		fmt.Fprintf(&b, `<path d="M%.0f %.1fH%.0f" stroke="#ddd"/><text x="%.0f" y="%.1f" text-anchor="end">%.0f</text>`+"\n", plotLeft, y(v), plotRight, plotLeft-6, y(v)+4, v)
	}
	for _, n := range curves[0].sizes {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle">%d</text>`+"\n", x(n), plotBottom+plotLabel, n)
	}
	fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle">instances in the catalog</text>`+"\n", (plotLeft+plotRight)/2, plotBottom+2*plotLabel)
	for _, c := range curves {
		path := "M"
		for i, n := range c.sizes {
			path += fmt.Sprintf("%.1f %.1f ", x(n), y(c.values[i]))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x(n), y(c.values[i]), c.color)
		}
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.TrimSpace(path), c.color)
		last := len(c.sizes) - 1
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="end" fill="%s">%s, µs</text>`+"\n", x(c.sizes[last]), y(c.values[last])-8, c.color, c.name)
	}
	return b.String() + "</svg>\n"
}
