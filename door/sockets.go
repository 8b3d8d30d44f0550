package door

import (
	"fmt"
	"net"
)

// Addrs are the addresses that are listened on, by protocol.
type Addrs struct{ HTTP, HTTPS, DNS []string }

// listeners are the open sockets.
type listeners struct {
	http    []net.Listener
	packets []net.PacketConn
	streams []net.Listener
}

// Listen opens all addresses, or none. It must be called once, before Addrs and Run.
func (d *Door) Listen() (err error) {
	defer func() {
		if err != nil {
			d.lists.close()
		}
	}()
	for _, a := range d.cfg.HTTP {
		l, err := d.open(a)
		if err != nil {
			return err
		}
		d.lists.http = append(d.lists.http, l)
		d.addrs.HTTP = append(d.addrs.HTTP, shown(a, l))
	}
	for _, a := range d.cfg.HTTPS {
		conf, reread, err := d.cfg.TLS.listen()
		if err != nil {
			return err
		}
		d.rereads = append(d.rereads, reread)
		l, err := d.open(a)
		if err != nil {
			return err
		}
		d.lists.http = append(d.lists.http, listenTLS(l, conf, d.cfg.Handshake))
		d.site.certify(certificateNames(conf))
		d.addrs.HTTPS = append(d.addrs.HTTPS, shown(a, l))
	}
	for _, a := range d.cfg.DNS {
		if err := d.openDNS(a); err != nil {
			return err
		}
	}
	return nil
}

// Addrs returns the addresses listened on, with the ports that the system chose.
func (d *Door) Addrs() Addrs { return d.addrs }

func (d *Door) open(address string) (net.Listener, error) {
	l, err := listen(address, d.cfg.Unix)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", address, err)
	}
	return newClientListener(l, d.intake, d.cfg.Limits.ConnsPerClient), nil
}

func shown(asked string, l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return asked
	}
	return l.Addr().String()
}

func (d *Door) openDNS(address string) error {
	ls := &d.lists
	stream, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("cannot listen on %s for DNS: %w", address, err)
	}
	limited := newClientListener(stream, d.intake, -1)
	limited.dns = true
	ls.streams = append(ls.streams, limited)
	// Port 0 must become the same port for both.
	packet, err := net.ListenPacket("udp", stream.Addr().String())
	if err != nil {
		return fmt.Errorf("cannot listen on %s for DNS: %w", address, err)
	}
	ls.packets = append(ls.packets, packet)
	d.addrs.DNS = append(d.addrs.DNS, stream.Addr().String())
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
