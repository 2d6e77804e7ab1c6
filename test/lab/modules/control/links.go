package main

import (
	"encoding/json"
	"net/http"

	"tailscale.com/control/controlbase"
	"tailscale.com/tailcfg"
)

// links keeps who is connected by the client protocol, and whose connections are cut. Under the server's mu.
type links struct {
	open map[*controlbase.Conn]bool
	cut  map[tailcfg.StableNodeID]bool
}

// linkFaults mounts /lab/unlinked: a machine posted there by its nodeId loses its connection at once and gets no other, until all are let in again.
func (s *server) linkFaults(mux *http.ServeMux) {
	mux.HandleFunc("POST /lab/unlinked", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ NodeID tailcfg.StableNodeID }
		if json.NewDecoder(r.Body).Decode(&body) != nil || body.NodeID == "" {
			fail(w, 400, "nodeId: whose connection is to be cut")
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.links.cut[body.NodeID] = true
		for conn := range s.links.open {
			if s.isCut(conn) {
				conn.Close()
			}
		}
		w.WriteHeader(200)
	})
	mux.HandleFunc("DELETE /lab/unlinked", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		clear(s.links.cut)
		w.WriteHeader(200)
	})
}

// isCut says whether the machine at the other end is to have no connection. Callers hold mu.
func (s *server) isCut(conn *controlbase.Conn) bool {
	for _, d := range s.devices {
		if d.node.Machine == conn.Peer() && s.links.cut[d.node.StableID] {
			return true
		}
	}
	return false
}

// admit takes a connection in; false when its machine is to have none.
func (s *server) admit(conn *controlbase.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isCut(conn) {
		return false
	}
	s.links.open[conn] = true
	return true
}

// gone forgets a connection that has ended.
func (s *server) gone(conn *controlbase.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.links.open, conn)
}
