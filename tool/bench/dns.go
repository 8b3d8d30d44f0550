package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// DNS asks for a service over UDP. Kind is dns.TypeA or dns.TypeSRV.
func DNS(ctx context.Context, o Options, kind uint16) (Result, error) {
	o = o.withDefaults()
	if err := prepare(ctx, newAPI(o), o); err != nil {
		return Result{}, err
	}
	name := "dns-" + dns.TypeToString[kind]
	return load(ctx, name, o, func(int) (worker, error) {
		conn, err := dns.DialTimeout("udp", o.DNS, time.Second)
		if err != nil {
			return nil, err
		}
		conn.UDPSize = dns.MaxMsgSize
		m := new(dns.Msg)
		m.SetQuestion(o.Service+".service.consul.", kind)
		m.SetEdns0(4096, false)
		return func(ctx context.Context, _ int64) error {
			m.Id = dns.Id()
			conn.SetDeadline(time.Now().Add(2 * time.Second))
			if err := conn.WriteMsg(m); err != nil {
				return err
			}
			for {
				answer, err := conn.ReadMsg()
				if err != nil {
					return err
				}
				if answer.Id != m.Id {
					continue // of a question that timed out before
				}
				if answer.Rcode != dns.RcodeSuccess || len(answer.Answer) == 0 {
					return fmt.Errorf("answer %s with %d records", dns.RcodeToString[answer.Rcode], len(answer.Answer))
				}
				return nil
			}
		}, nil
	})
}
