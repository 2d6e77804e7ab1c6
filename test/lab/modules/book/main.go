// Command book is the workload of the lab's books and the HTTP server of its customers, and the client that tests run inside a
// container:
//
//	book                                                  serve on BOOK_ADDRESSES (default ":8080"); "/" answers BOOK_PAGE
//	book get URL [TIMEOUT_MS]                             one request; prints one JSON object
//	book request METHOD URL TIMEOUT_MS [BODY [HEADER...]] the same with a body and headers ("Name: value")
//	book hold URL TIMEOUT_MS [EVERY_MS]                   a request every 250 ms on one connection, until time is up; prints each status
//	book lookup NAME [TIMEOUT_MS]                         one DNS query for an address; prints one JSON object
//	book cat FILE                                         prints a file of the container
//
// It exits with 0 when there was an answer of any status, else with 1.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	arguments := os.Args[1:]
	if len(arguments) == 0 {
		fatal(serve(os.Getenv("BOOK_ADDRESSES"), os.Getenv("BOOK_PAGE")))
	}
	verb, rest := arguments[0], arguments[1:]
	at := func(i int) string {
		if i < len(rest) {
			return rest[i]
		}
		return ""
	}
	switch {
	case verb == "get" && len(rest) > 0:
		finish(request(call{method: "GET", url: at(0), timeout: milliseconds(at(1))}))
	case verb == "request" && len(rest) > 2:
		headers := []string{}
		if len(rest) > 4 {
			headers = rest[4:]
		}
		finish(request(call{method: at(0), url: at(1), timeout: milliseconds(at(2)), body: at(3), headers: headers}))
	case verb == "hold" && len(rest) == 2:
		fatal(hold(at(0), milliseconds(at(1)), 250*time.Millisecond))
	case verb == "hold" && len(rest) == 3:
		fatal(hold(at(0), milliseconds(at(1)), milliseconds(at(2))))
	case verb == "lookup" && len(rest) > 0:
		finish(lookup(at(0), milliseconds(at(1))))
	case verb == "cat" && len(rest) == 1:
		file, err := os.Open(at(0))
		fatal(err)
		_, err = io.Copy(os.Stdout, file)
		fatal(err)
	default:
		fmt.Fprintln(os.Stderr, "book: get URL [TIMEOUT_MS] | request METHOD URL TIMEOUT_MS [BODY [HEADER...]] | hold URL TIMEOUT_MS [EVERY_MS] | lookup NAME [TIMEOUT_MS] | cat FILE")
		os.Exit(2)
	}
}

// finish writes the answer and ends the process: 0 with an answer, 1 without.
func finish(a answer) {
	fatal(json.NewEncoder(os.Stdout).Encode(a))
	if a.Error != "" {
		os.Exit(1)
	}
	os.Exit(0)
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "book:", err)
		os.Exit(1)
	}
}
