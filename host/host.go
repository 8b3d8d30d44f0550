// Package host describes the machine as the operating system's own files do.
package host

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/skerryhq/skerry/files"
)

// Describe returns the description by the names of Consul's agent/host endpoint: sizes in
// bytes, times in seconds of the Unix time. A value that the system does not provide is left
// out or 0.
func Describe() map[string]any {
	hostname, err := os.Hostname()
	var errs []string
	if err != nil {
		errs = append(errs, err.Error())
	}
	uptime, _, _ := strings.Cut(readFile("/proc/uptime"), ".")
	up, _ := strconv.ParseUint(uptime, 10, 64)
	disk := map[string]any{"path": "/"}
	if total, free, ok := files.Space("/"); ok {
		disk["total"], disk["free"], disk["used"] = total, free, total-free
	}
	cpus := make([]map[string]any, runtime.NumCPU())
	for i := range cpus {
		cpus[i] = map[string]any{"cpu": i, "cores": 1}
	}
	return map[string]any{
		"Memory": memInfo(),
		"CPU":    cpus,
		"Host": map[string]any{
			"hostname": hostname, "os": runtime.GOOS, "uptime": up,
			"bootTime": uint64(time.Now().Unix()) - up, "kernelArch": runtime.GOARCH,
			"kernelVersion": strings.TrimSpace(readFile("/proc/sys/kernel/osrelease")),
		},
		"Disk":           disk,
		"CollectionTime": time.Now().UnixNano(),
		"Errors":         errs,
	}
}

func readFile(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

// memInfo returns sizes in bytes by Consul's names.
func memInfo() map[string]uint64 {
	out := map[string]uint64{}
	names := map[string]string{"MemTotal": "total", "MemAvailable": "available", "MemFree": "free"}
	for line := range strings.Lines(readFile("/proc/meminfo")) {
		key, rest, _ := strings.Cut(line, ":")
		if name := names[key]; name != "" {
			kb, _ := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
			out[name] = kb << 10
		}
	}
	out["used"] = out["total"] - out["available"]
	return out
}
