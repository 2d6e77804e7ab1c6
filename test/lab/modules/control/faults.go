package main

import (
	"encoding/json"
	"net/http"
	"strings"
)

// fault makes API calls go wrong: posted to /lab/faults, it hits the next Count calls that it fits, instead of their effect.
type fault struct {
	Method  string            `json:"method,omitempty"` // any when empty
	Path    string            `json:"path,omitempty"`   // how the path after /api/v2 begins; any when empty
	Status  int               `json:"status,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"`
	Hang    bool              `json:"hang,omitempty"`  // no answer while the caller waits
	Reset   bool              `json:"reset,omitempty"` // the connection is cut
	Count   int               `json:"count"`           // 1 when absent
}

// faulty answers /lab/faults and breaks API calls; the client protocol passes untouched (links.go cuts that).
func (s *server) faulty(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /lab/faults", s.addFault)
	mux.HandleFunc("GET /lab/faults", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		reply(w, 200, map[string]any{"faults": append([]*fault{}, s.faults...)})
	})
	mux.HandleFunc("DELETE /lab/faults", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.faults = nil
		w.WriteHeader(200)
	})
	mux.HandleFunc("/api/v2/", func(w http.ResponseWriter, r *http.Request) {
		if f := s.takeFault(r); f != nil {
			f.strike(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
	s.linkFaults(mux)
	mux.Handle("/", next)
	return mux
}

func (s *server) addFault(w http.ResponseWriter, r *http.Request) {
	f := &fault{Count: 1}
	if json.NewDecoder(r.Body).Decode(f) != nil || f.Count < 1 || !f.Hang && !f.Reset && (f.Status < 200 || f.Status > 599) {
		fail(w, 400, "a fault has a status from 200 to 599, or hang, or reset, and a count of 1 or more")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, f)
	w.WriteHeader(200)
}

// takeFault is the first waiting fault that fits the call.
func (s *server) takeFault(r *http.Request) *fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/api/v2")
	for i, f := range s.faults {
		if f.Method != "" && f.Method != r.Method || !strings.HasPrefix(path, f.Path) {
			continue
		}
		if f.Count--; f.Count == 0 {
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
		}
		return f
	}
	return nil
}

func (f *fault) strike(w http.ResponseWriter, r *http.Request) {
	if f.Hang {
		<-r.Context().Done()
		return
	}
	if f.Reset {
		panic(http.ErrAbortHandler) // net/http's way to cut a connection
	}
	w.Header().Set("Content-Type", "application/json")
	for name, value := range f.Headers {
		w.Header().Set(name, value)
	}
	body := f.Body
	if body == "" {
		body = `{"message":"injected fault"}`
	}
	w.WriteHeader(f.Status)
	w.Write([]byte(body))
}
