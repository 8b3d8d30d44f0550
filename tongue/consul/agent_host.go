package consul

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// agentHost tells of the machine what its own system files say.
func (q *request) agentHost() error {
	hostname, err := os.Hostname()
	var errs []string
	if err != nil {
		errs = append(errs, err.Error())
	}
	uptime, _, _ := strings.Cut(readFile("/proc/uptime"), ".")
	up, _ := strconv.ParseUint(uptime, 10, 64)
	memory := memInfo()
	var fs syscall.Statfs_t
	disk := map[string]any{"path": "/"}
	if err := syscall.Statfs("/", &fs); err == nil {
		total, free := fs.Blocks*uint64(fs.Bsize), fs.Bavail*uint64(fs.Bsize)
		disk["total"], disk["free"], disk["used"] = total, free, total-free
	}
	cpus := make([]map[string]any, runtime.NumCPU())
	for i := range cpus {
		cpus[i] = map[string]any{"cpu": i, "cores": 1}
	}
	return q.json(map[string]any{
		"Memory": memory,
		"CPU":    cpus,
		"Host": map[string]any{
			"hostname": hostname, "os": runtime.GOOS, "uptime": up,
			"bootTime": uint64(time.Now().Unix()) - up, "kernelArch": runtime.GOARCH,
			"kernelVersion": strings.TrimSpace(readFile("/proc/sys/kernel/osrelease")),
		},
		"Disk":           disk,
		"CollectionTime": time.Now().UnixNano(),
		"Errors":         errs,
	})
}

func readFile(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

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
