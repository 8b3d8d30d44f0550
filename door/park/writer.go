package park

import (
	"bytes"
	"net"
	"net/http"
	"strconv"
	"time"
)

// writer gathers one answer and writes it at once.
type writer struct {
	header http.Header
	status int
	body   []byte
}

func (w *writer) Header() http.Header { return w.header }

func (w *writer) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *writer) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.body == nil {
		w.body = b // shared bytes of a view are not copied; nothing writes to them
	} else {
		w.body = append(w.body[:len(w.body):len(w.body)], b...)
	}
	return len(b), nil
}

// WriteString implements [io.StringWriter]. It copies the string, since Write keeps its
// argument.
func (w *writer) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// head returns the status line and the header.
func (w *writer) head() []byte {
	w.WriteHeader(http.StatusOK)
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 " + strconv.Itoa(w.status) + " " + http.StatusText(w.status) + "\r\nDate: " + time.Now().UTC().Format(http.TimeFormat) + "\r\n")
	w.header["Content-Length"] = []string{strconv.Itoa(len(w.body))}
	w.header.Write(&head)
	head.WriteString("\r\n")
	return head.Bytes()
}

func (w *writer) send(conn net.Conn) error {
	both := net.Buffers{w.head(), w.body}
	_, err := both.WriteTo(conn)
	return err
}

// prefixed is a connection with bytes that were read already.
type prefixed struct {
	net.Conn
	head []byte
}

// NetConn returns the connection itself.
func (c *prefixed) NetConn() net.Conn { return c.Conn }

// Read implements [net.Conn].
func (c *prefixed) Read(b []byte) (int, error) {
	if len(c.head) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.head)
	c.head = c.head[n:]
	return n, nil
}
