package main

import (
	"errors"
	"io"
	"net"
)

// listen opens the address that was asked for.
func (c *cluster) listen() (net.Listener, error) {
	return net.Listen(c.front.Network(), c.front.String())
}

// serve passes connections to the HTTP port on to the process that was asked for, once all are ready.
func (c *cluster) serve(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			<-c.ready
			pass(conn, c.asked().http)
		}()
	}
}

// pass carries one connection, each way until its end.
func pass(from net.Conn, address string) {
	defer from.Close()
	to, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer to.Close()
	back := make(chan struct{})
	go func() {
		defer close(back)
		io.Copy(from, to)
		halfClose(from)
	}()
	if _, err := io.Copy(to, from); err != nil && !errors.Is(err, net.ErrClosed) {
		return // the client reset it
	}
	halfClose(to)
	<-back
}

func halfClose(c net.Conn) { c.(interface{ CloseWrite() error }).CloseWrite() }
