package server

import (
	"fmt"
	"net"
)

// listeners are the open sockets.
type listeners struct {
	http    []net.Listener
	packets []net.PacketConn
	streams []net.Listener
}

// Listen opens all addresses, or none.
func (s *Server) Listen() (err error) {
	defer func() {
		if err != nil {
			s.lists.close()
		}
	}()
	open := func(address string) (net.Listener, error) {
		l, err := listen(address, s.cfg.Unix)
		if err != nil {
			return nil, fmt.Errorf("cannot listen on %s: %w", address, err)
		}
		return newClientListener(l, s.intake, s.cfg.Limits.withDefaults().ConnsPerClient), nil
	}
	for _, a := range s.cfg.HTTP {
		l, err := open(a)
		if err != nil {
			return err
		}
		s.lists.http = append(s.lists.http, l)
		s.Addrs.HTTP = append(s.Addrs.HTTP, shown(a, l))
	}
	for _, a := range s.cfg.HTTPS {
		conf, err := s.cfg.TLS.config()
		if err != nil {
			return err
		}
		l, err := open(a)
		if err != nil {
			return err
		}
		s.lists.http = append(s.lists.http, listenTLS(l, conf, s.cfg.HTTPSHandshake))
		s.cert = certificateNames(conf)
		s.site.Set(s.hosts(&s.cfg))
		s.Addrs.HTTPS = append(s.Addrs.HTTPS, shown(a, l))
	}
	for _, a := range s.cfg.DNS {
		if err := s.openDNS(a); err != nil {
			return err
		}
	}
	return nil
}

func shown(asked string, l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return asked
	}
	return l.Addr().String()
}

func (s *Server) openDNS(address string) error {
	ls := &s.lists
	stream, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("cannot listen on %s for DNS: %w", address, err)
	}
	limited := newClientListener(stream, s.intake, -1)
	limited.dns = true
	ls.streams = append(ls.streams, limited)
	// Port 0 must become the same port for both.
	packet, err := net.ListenPacket("udp", stream.Addr().String())
	if err != nil {
		return fmt.Errorf("cannot listen on %s for DNS: %w", address, err)
	}
	ls.packets = append(ls.packets, packet)
	s.Addrs.DNS = append(s.Addrs.DNS, stream.Addr().String())
	return nil
}

func (ls *listeners) close() {
	for _, l := range ls.http {
		l.Close()
	}
	for _, l := range ls.streams {
		l.Close()
	}
	for _, p := range ls.packets {
		p.Close()
	}
}
