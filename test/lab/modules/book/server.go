package main

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// serve listens on each address of the comma-separated list and returns when one of them fails.
//
//	/          the page
//	/client    the caller's address, as this server sees it
//	/bytes?n=N N bytes, for tests that watch counters
//	/count     (POST) how many bytes came
func serve(addresses, page string) error {
	if addresses == "" {
		addresses = ":8080"
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, page) })
	mux.HandleFunc("/client", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RemoteAddr) })
	mux.HandleFunc("/bytes", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue("n"))
		if err != nil || n < 0 {
			http.Error(w, "n is a number of bytes", http.StatusBadRequest)
			return
		}
		io.CopyN(w, endless{}, int64(n))
	})
	mux.HandleFunc("POST /count", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		io.WriteString(w, strconv.FormatInt(n, 10))
	})
	failed := make(chan error)
	for address := range strings.SplitSeq(addresses, ",") {
		listener, err := net.Listen("tcp", strings.TrimSpace(address))
		if err != nil {
			return err
		}
		go func() { failed <- http.Serve(listener, mux) }()
	}
	return <-failed
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'b'
	}
	return len(p), nil
}
