// Command netpol enforces the cluster's NetworkPolicies on this node: it follows pods, namespaces and policies, and writes nftables rules for
// the pods' IPv4 addresses. Written from the documentation of Kubernetes, for the lab, to judge what Bifrost writes: it shares nothing with it.
//
// Every packet of a connection's own direction is judged, not only the first, so a new policy cuts what it does not let at once; answers pass.
// What the node itself sends (probes) passes. What a pod sends to the node is judged: the API reference has no exception for it.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

type metadata struct {
	Name, Namespace string
	Labels          map[string]string
}

type object[S any] struct {
	Metadata metadata
	Spec     S
	Status   struct{ Phase, PodIP string }
}

// api is the API server, and what is known of the cluster.
type api struct {
	url, token string
	client     http.Client
	mu         sync.Mutex
	changed    chan struct{}
}

func main() {
	url := flag.String("api", "", "URL of the API server")
	token := flag.String("token", "", "bearer token")
	flag.Parse()
	// Two pods of one node meet on its bridge: without this their packets pass no rule of the IP family.
	if on, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables"); err != nil || strings.TrimSpace(string(on)) != "1" {
		log.Fatal("netpol: bridged packets do not pass nftables here (br_netfilter)")
	}
	a := &api{url: *url, token: *token, changed: make(chan struct{}, 1)}
	a.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	pods, namespaces, policies := map[string]object[podSpec]{}, map[string]object[struct{}]{}, map[string]object[policySpec]{}
	go follow(a, "/api/v1/pods", pods)
	go follow(a, "/api/v1/namespaces", namespaces)
	go follow(a, "/apis/networking.k8s.io/v1/networkpolicies", policies)
	applied := ""
	for {
		a.mu.Lock()
		text, count := ruleset(world{pods, namespaces, policies}), len(policies)
		a.mu.Unlock()
		if text != applied {
			if err := apply(text); err != nil {
				log.Printf("netpol: %v\n%s", err, text)
				time.Sleep(time.Second)
				continue
			}
			applied = text
			log.Printf("netpol: %d policies, %d bytes of rules", count, len(text))
		}
		<-a.changed
	}
}

func apply(text string) error {
	nft := exec.Command("nft", "-f", "-")
	nft.Stdin = strings.NewReader(text)
	said, err := nft.CombinedOutput()
	if err != nil {
		return fmt.Errorf("nft: %w: %s", err, bytes.TrimSpace(said))
	}
	return nil
}

// follow keeps `known` as the API server has it: lists, then watches from there, and again whenever the watch ends.
func follow[S any](a *api, path string, known map[string]object[S]) {
	for {
		if err := listAndWatch(a, path, known); err != nil {
			log.Printf("netpol: %s: %v", path, err)
		}
		time.Sleep(500 * time.Millisecond)
	}
}

func listAndWatch[S any](a *api, path string, known map[string]object[S]) error {
	list := struct {
		Metadata struct{ ResourceVersion string }
		Items    []object[S]
	}{}
	answer, err := a.get(path)
	if err != nil {
		return err
	}
	err = json.NewDecoder(answer.Body).Decode(&list)
	answer.Body.Close()
	if err != nil {
		return err
	}
	a.update(func() {
		clear(known)
		for _, item := range list.Items {
			known[item.key()] = item
		}
	})
	answer, err = a.get(path + "?watch=true&resourceVersion=" + list.Metadata.ResourceVersion)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	lines := bufio.NewReader(answer.Body)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return nil // the API server ends every watch some time
		}
		event := struct {
			Type   string
			Object object[S]
		}{}
		if err := json.Unmarshal(line, &event); err != nil || event.Type == "ERROR" {
			return fmt.Errorf("the watch said %s", line)
		}
		a.update(func() {
			if event.Type == "DELETED" {
				delete(known, event.Object.key())
			} else {
				known[event.Object.key()] = event.Object
			}
		})
	}
}

func (o object[S]) key() string { return o.Metadata.Namespace + "/" + o.Metadata.Name }

func (a *api) get(path string) (*http.Response, error) {
	request, err := http.NewRequest("GET", a.url+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	answer, err := a.client.Do(request)
	if err == nil && answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		err = fmt.Errorf("HTTP %d", answer.StatusCode)
	}
	return answer, err
}

// update changes what is known and says that it was changed.
func (a *api) update(change func()) {
	a.mu.Lock()
	change()
	a.mu.Unlock()
	select {
	case a.changed <- struct{}{}:
	default:
	}
}
