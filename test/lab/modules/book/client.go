package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type call struct {
	method, url, body string
	headers           []string
	timeout           time.Duration
}

// answer is what a test reads: either a status, or a kind of error.
type answer struct {
	Status       int      `json:"status,omitempty"`
	Body         string   `json:"body"`
	Addresses    []string `json:"addresses,omitempty"`
	Error        string   `json:"error,omitempty"`
	Kind         string   `json:"kind,omitempty"` // errno name, ETIMEDOUT, ENOTFOUND, or EOTHER
	Milliseconds int64    `json:"ms"`
}

func milliseconds(text string) time.Duration {
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		n = 5000
	}
	return time.Duration(n) * time.Millisecond
}

// request asks once, on a connection of its own, by the proxy that the environment names, as most programs do. Certificates are not checked: who
// answers is told by what is answered.
func request(c call) answer {
	started := time.Now()
	failed := func(err error) answer {
		return answer{Error: err.Error(), Kind: kind(err), Milliseconds: time.Since(started).Milliseconds()}
	}
	req, err := http.NewRequest(c.method, c.url, strings.NewReader(c.body))
	if err != nil {
		return failed(err)
	}
	for _, header := range c.headers {
		name, value, _ := strings.Cut(header, ":")
		req.Header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	client := http.Client{Timeout: c.timeout, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	res, err := client.Do(req)
	if err != nil {
		return failed(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return failed(err)
	}
	return answer{Status: res.StatusCode, Body: string(body), Milliseconds: time.Since(started).Milliseconds()}
}

// dial opens a connection to the host, through a tunnel of the proxy that the environment names, where it names one.
func dial(req *http.Request) (net.Conn, error) {
	proxy, err := http.ProxyFromEnvironment(req)
	if err != nil {
		return nil, err
	}
	if proxy == nil {
		return net.Dial("tcp", req.URL.Host)
	}
	connection, err := net.Dial("tcp", proxy.Host)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(connection, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", req.URL.Host, req.URL.Host)
	// Nobody sends before we do: what is read too much of would be lost.
	res, err := http.ReadResponse(bufio.NewReader(connection), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the proxy answers %s", res.Status)
	}
	return connection, nil
}

// hold asks again and again on one connection, and waits for each answer as long as it takes: a connection that stalls shows by what does not come.
func hold(url string, timeout, interval time.Duration) error {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	connection, err := dial(req)
	if err != nil {
		return err
	}
	time.AfterFunc(timeout, func() { os.Exit(0) })
	answers := bufio.NewReader(connection)
	for {
		if err := req.Write(connection); err != nil {
			return err
		}
		res, err := http.ReadResponse(answers, req)
		if err != nil {
			return err
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		fmt.Println(res.StatusCode)
		time.Sleep(interval)
	}
}

func lookup(name string, timeout time.Duration) answer {
	started := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, name)
	if err != nil {
		return answer{Error: err.Error(), Kind: kind(err), Milliseconds: time.Since(started).Milliseconds()}
	}
	return answer{Addresses: addresses, Milliseconds: time.Since(started).Milliseconds()}
}

var errnos = map[syscall.Errno]string{
	syscall.EACCES: "EACCES", syscall.EPERM: "EPERM", syscall.ECONNREFUSED: "ECONNREFUSED", syscall.ECONNRESET: "ECONNRESET",
	syscall.ENETUNREACH: "ENETUNREACH", syscall.EHOSTUNREACH: "EHOSTUNREACH", syscall.EINVAL: "EINVAL", syscall.ETIMEDOUT: "ETIMEDOUT",
}

func kind(err error) string {
	var errno syscall.Errno
	var dns *net.DNSError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &errno) && errnos[errno] != "":
		return errnos[errno]
	case errors.As(err, &dns) && !dns.IsTimeout:
		return "ENOTFOUND"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "ETIMEDOUT"
	}
	return "EOTHER"
}
