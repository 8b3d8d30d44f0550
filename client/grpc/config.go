package skerrygrpc

import (
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/grpc/serviceconfig"

	"github.com/skerryhq/skerry/client/lb"
)

// Config is the balancer's part of a service config:
//
//	{"loadBalancingConfig": [{"skerry_p2c": {"decay": "3s", "zone": "a"}}]}
//
// Zero values mean the defaults. In JSON, times are strings such as "1.5s", and the
// fields' names begin with a small letter.
type Config struct {
	// Policy is how instances are chosen: p2c, round_robin, hash (see
	// [client.WithHashKey]) or prequal (servers need [ServerOptions]); default p2c.
	Policy lb.Policy
	// Decay is the time in which a latency's weight falls to a third; default 6 s.
	Decay time.Duration
	// Choices is how many instances are compared; 2 to 8, default 2.
	Choices int
	// Subset is how many instances are used of a service that has more than 100, if
	// ClientID is given or the registry hands positions out, as Skerry does; default 32
	// with ClientID, else all, -1: always all.
	Subset int
	// SlowStart is how long a new instance takes less than its share; default 10 s,
	// negative: never.
	SlowStart time.Duration
	// Zone is the caller's; instances of the same zone are preferred as far as they
	// bear it. Default: all are alike.
	Zone string
	// ClientID names this caller, for good: the same after a restart, another for
	// each copy of the program.
	ClientID string
	// MaxEjected is the share of instances that may be out for failing; above it all
	// are used. Default 0.5.
	MaxEjected float64
}

// wireConfig is Config as JSON has it.
type wireConfig struct {
	serviceconfig.LoadBalancingConfig `json:"-"`

	Policy     string  `json:"policy,omitempty"`
	Decay      string  `json:"decay,omitempty"`
	Choices    int     `json:"choices,omitempty"`
	Subset     int     `json:"subset,omitempty"`
	SlowStart  string  `json:"slowStart,omitempty"`
	Zone       string  `json:"zone,omitempty"`
	ClientID   string  `json:"clientID,omitempty"`
	MaxEjected float64 `json:"maxEjected,omitempty"`
}

// MarshalJSON implements [json.Marshaler].
func (c Config) MarshalJSON() ([]byte, error) {
	w := wireConfig{Choices: c.Choices, Subset: c.Subset, Zone: c.Zone, ClientID: c.ClientID, MaxEjected: c.MaxEjected}
	if c.Policy != lb.P2C {
		w.Policy = c.Policy.String()
	}
	if c.Decay != 0 {
		w.Decay = c.Decay.String()
	}
	if c.SlowStart != 0 {
		w.SlowStart = c.SlowStart.String()
	}
	return json.Marshal(w)
}

// UnmarshalJSON implements [json.Unmarshaler]. Fields that it does not know are left
// out, as gRPC wants it.
func (c *Config) UnmarshalJSON(data []byte) error {
	var w wireConfig
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	*c = Config{Choices: w.Choices, Subset: w.Subset, Zone: w.Zone, ClientID: w.ClientID, MaxEjected: w.MaxEjected}
	for _, f := range []struct {
		name, text string
		to         *time.Duration
	}{{"decay", w.Decay, &c.Decay}, {"slowStart", w.SlowStart, &c.SlowStart}} {
		if f.text == "" {
			continue
		}
		d, err := time.ParseDuration(f.text)
		if err != nil {
			return fmt.Errorf("%s is %q: want a time such as \"3s\"", f.name, f.text)
		}
		*f.to = d
	}
	if w.Policy != "" {
		var err error
		if c.Policy, err = lb.ParsePolicy(w.Policy); err != nil {
			return fmt.Errorf("policy is %q: %w", w.Policy, err)
		}
	}
	if w.SlowStart != "" && c.SlowStart == 0 {
		c.SlowStart = -1 // said to be none
	}
	return c.check()
}

func (c *Config) check() error {
	switch {
	case c.Decay < 0:
		return fmt.Errorf("decay is %v: want a time above 0", c.Decay)
	case c.Choices != 0 && (c.Choices < 2 || c.Choices > 8):
		return fmt.Errorf("choices is %d: want 2 to 8", c.Choices)
	case c.Subset < -1:
		return fmt.Errorf("subset is %d: want a number of instances, or -1 for all", c.Subset)
	case c.MaxEjected < 0 || c.MaxEjected > 1:
		return fmt.Errorf("maxEjected is %v: want a share, above 0 and at most 1", c.MaxEjected)
	}
	return nil
}

// subset returns which instances to connect to, for a caller with a position.
func (c *Config) subset(position float64) lb.Subset {
	s := lb.Subset{Client: c.ClientID}
	if c.ClientID != "" || c.Subset > 0 {
		s.Position = position
	}
	if c.Subset > 0 && c.Policy != lb.Hash {
		s.Size = c.Subset
	} else if c.Subset < 0 || c.Policy == lb.Hash {
		s.Above = -1
	}
	return s
}

// options returns the picker's. The subset is taken before connections are made.
func (c *Config) options(observe func(lb.Event)) lb.Options {
	return lb.Options{
		Policy: c.Policy,
		Decay:  c.Decay, Choices: c.Choices, SlowStart: c.SlowStart, Zone: c.Zone, MaxEjected: c.MaxEjected,
		Probed: true, Subset: lb.Subset{Above: -1}, Observe: observe,
	}
}
