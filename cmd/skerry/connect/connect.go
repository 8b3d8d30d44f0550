// Package connect connects a command to an agent: it has the flags and variables for the
// address, the connection, and errors that advise the user.
package connect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// ClientFlag marks the flags that every client command has, so that help shows
// the command's own before them.
const ClientFlag = "skerry_client"

// options configure the connection to an agent.
type options struct {
	address, token, tokenFile string
	caFile, caPath            string
	clientCert, clientKey     string
	serverName, datacenter    string
	stale                     bool
}

// flags adds the flags that every client command has.
func (o *options) flags(cmd *cobra.Command) {
	f := pflag.NewFlagSet("client", pflag.ContinueOnError)
	f.StringVar(&o.address, "http-addr", "", "`address` of the agent, host:port or unix:///path; default 127.0.0.1:8500 (SKERRY_HTTP_ADDR)")
	f.StringVar(&o.token, "token", "", "ACL `token` (SKERRY_HTTP_TOKEN)")
	f.StringVar(&o.tokenFile, "token-file", "", "`file` with the token (SKERRY_HTTP_TOKEN_FILE)")
	f.StringVar(&o.caFile, "ca-file", "", "PEM `file` of the authorities to trust (SKERRY_CACERT)")
	f.StringVar(&o.caPath, "ca-path", "", "`folder` of such files (SKERRY_CAPATH)")
	f.StringVar(&o.clientCert, "client-cert", "", "PEM `file` of the client's certificate (SKERRY_CLIENT_CERT)")
	f.StringVar(&o.clientKey, "client-key", "", "PEM `file` of its key (SKERRY_CLIENT_KEY)")
	f.StringVar(&o.serverName, "tls-server-name", "", "`name` that the agent's certificate must have (SKERRY_TLS_SERVER_NAME)")
	f.StringVar(&o.datacenter, "datacenter", "", "`name` of the datacenter; default the agent's")
	f.BoolVar(&o.stale, "stale", false, "let any server answer, also one that may be behind")
	f.VisitAll(func(flag *pflag.Flag) {
		flag.Annotations = map[string][]string{ClientFlag: {"yes"}}
		cmd.Flags().AddFlag(flag)
	})
}

// env returns a variable: SKERRY_name, else CONSUL_name. CONSUL_ ones are for users of
// Consul.
func env(name string) string {
	if v, ok := os.LookupEnv("SKERRY_" + name); ok {
		return v
	}
	return os.Getenv("CONSUL_" + name)
}

// Connection is the way to one agent.
type Connection struct {
	*api.Client
	Config  api.Config       // complete: with the token and the transport
	Address string           // as the user gave it
	Query   api.QueryOptions // the options of every request, from the flags
	Program string           // the name that the user called
}

// connect prepares the way to the agent; nothing is sent yet.
func (o *options) connect(cmd *cobra.Command) (*Connection, error) {
	cfg := api.Config{
		Address: First(o.address, env("HTTP_ADDR"), "127.0.0.1:8500"),
		Token:   o.token, TokenFile: o.tokenFile, Datacenter: o.datacenter, Scheme: "http",
		TLSConfig: api.TLSConfig{
			Address: First(o.serverName, env("TLS_SERVER_NAME")),
			CAFile:  First(o.caFile, env("CACERT")), CAPath: First(o.caPath, env("CAPATH")),
			CertFile: First(o.clientCert, env("CLIENT_CERT")), KeyFile: First(o.clientKey, env("CLIENT_KEY")),
		},
	}
	if cfg.Token == "" && cfg.TokenFile == "" {
		if cfg.TokenFile = env("HTTP_TOKEN_FILE"); cfg.TokenFile == "" {
			cfg.Token = env("HTTP_TOKEN")
		}
	}
	if cfg.TokenFile != "" {
		b, err := os.ReadFile(cfg.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("the token file cannot be read: %w", err)
		}
		cfg.Token, cfg.TokenFile = strings.TrimSpace(string(b)), ""
	}
	if ssl, err := boolEnv("HTTP_SSL", false); err != nil {
		return nil, err
	} else if ssl {
		cfg.Scheme = "https"
	}
	verify, err := boolEnv("HTTP_SSL_VERIFY", true)
	if err != nil {
		return nil, err
	}
	cfg.TLSConfig.InsecureSkipVerify = !verify
	if auth := env("HTTP_AUTH"); auth != "" {
		user, password, _ := strings.Cut(auth, ":")
		cfg.HttpAuth = &api.HttpBasicAuth{Username: user, Password: password}
	}
	// The library would complete the TLS of a client that it makes from CONSUL_
	// variables, also where a SKERRY_ one differs.
	cfg.Transport = http.DefaultTransport.(*http.Transport).Clone()
	if cfg.Transport.TLSClientConfig, err = api.SetupTLSConfig(&cfg.TLSConfig); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	cfg.HttpClient = &http.Client{Transport: cfg.Transport}
	c := &Connection{Address: cfg.Address, Program: cmd.Root().Name()}
	if c.Client, err = api.NewClient(&cfg); err != nil {
		return nil, UsageError("-http-addr: " + err.Error())
	}
	c.Config = cfg
	c.Query = api.QueryOptions{AllowStale: o.stale, Datacenter: o.datacenter}
	return c, nil
}

// First returns the first value that is not empty.
func First(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func boolEnv(name string, otherwise bool) (bool, error) {
	v := env(name)
	if v == "" {
		return otherwise, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, UsageError(fmt.Sprintf("SKERRY_%s: %q is neither true nor false", name, v))
	}
	return b, nil
}

// Options returns the query options of a request that ends with ctx.
func (c *Connection) Options(ctx context.Context) *api.QueryOptions {
	return c.Query.WithContext(ctx)
}

// WriteOptions returns the options of a change whose request ends with ctx.
func (c *Connection) WriteOptions(ctx context.Context) *api.WriteOptions {
	return (&api.WriteOptions{Datacenter: c.Query.Datacenter}).WithContext(ctx)
}

// Do sends a request that the library has no call for. A nil in sends no body, a
// nil out takes none.
func (c *Connection) Do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	answer, err := c.Open(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	if out == nil {
		return nil
	}
	return json.NewDecoder(answer).Decode(out)
}

// Open sends a request and returns the body of its answer, to be read as it comes.
func (c *Connection) Open(ctx context.Context, method, path string, query url.Values, body io.Reader) (io.ReadCloser, error) {
	resp, err := c.Send(ctx, method, path, query, body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		return nil, Refusal(resp)
	}
	return resp.Body, nil
}

// Refusal returns the error of an answer that is not a success; it does not close
// the body.
func Refusal(resp *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) // a part of the message is better than none
	return api.StatusError{Code: resp.StatusCode, Body: strings.TrimSpace(string(b))}
}

// Send sends a request and returns its answer, whatever its status.
func (c *Connection) Send(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Response, error) {
	if query == nil {
		query = url.Values{}
	}
	if c.Query.Datacenter != "" {
		query.Set("dc", c.Query.Datacenter)
	}
	if c.Query.AllowStale && method == http.MethodGet {
		query.Set("stale", "")
	}
	u := url.URL{Scheme: c.Config.Scheme, Host: c.Config.Address, Path: c.Config.PathPrefix + path, RawQuery: query.Encode()}
	if strings.HasPrefix(c.Address, "unix://") {
		u.Host = "localhost"
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if c.Config.Token != "" {
		req.Header.Set("X-Consul-Token", c.Config.Token)
	}
	if a := c.Config.HttpAuth; a != nil {
		req.SetBasicAuth(a.Username, a.Password)
	}
	return c.Config.HttpClient.Do(req)
}

// Explained returns an error that advises the user on a failed request.
func (c *Connection) Explained(err error) error {
	var status api.StatusError
	var dial *net.OpError
	var link *url.Error
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &status):
		return fmt.Errorf("the agent at %s refused (%d): %s", c.Address, status.Code, status.Body)
	case errors.As(err, &dial) && dial.Op == "dial":
		reason := dial.Err.Error()
		var call *os.SyscallError
		if errors.As(dial.Err, &call) {
			reason = call.Err.Error()
		}
		return fmt.Errorf("no agent answers at %s (%s): start one with \"%s agent -dev\", or name another with -http-addr or SKERRY_HTTP_ADDR",
			c.Address, reason, c.Program)
	case errors.As(err, &link):
		return fmt.Errorf("asking the agent at %s: %w", c.Address, link.Err)
	}
	return err
}

// Command makes cmd one that asks the agent: run gets the connection, and its
// errors are explained.
func Command(cmd *cobra.Command, run func(ctx context.Context, c *Connection, args []string, out io.Writer) error) *cobra.Command {
	var o options
	o.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := o.connect(cmd)
		if err != nil {
			return err
		}
		defer c.Config.HttpClient.CloseIdleConnections()
		return c.Explained(run(cmd.Context(), c, args, cmd.OutOrStdout()))
	}
	return cmd
}
