// Command ssh logs in at HOST as USER without any key, as a client of Tailscale SSH does (who it is, the tunnel says), and runs COMMAND there.
//
//	ssh USER HOST COMMAND
//
// It exits as the command did; 255 when nobody let it in, with the server's words on standard error.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/crypto/ssh"
)

const patience = 10 * time.Second

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: ssh USER HOST COMMAND")
		os.Exit(2)
	}
	code, err := run(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func run(user, host, command string) (int, error) {
	connection, err := net.DialTimeout("tcp", net.JoinHostPort(host, "22"), patience)
	if err != nil {
		return 255, err
	}
	// A server that asks for a second step waits for a person: nobody is here.
	if err := connection.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		return 255, err
	}
	config := &ssh.ClientConfig{
		User:            user,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // the tunnel's own keys say who answers
		BannerCallback:  func(message string) error { _, err := fmt.Fprint(os.Stderr, message); return err },
	}
	secured, channels, requests, err := ssh.NewClientConn(connection, host, config)
	if err != nil {
		return 255, err
	}
	client := ssh.NewClient(secured, channels, requests)
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return 255, err
	}
	session.Stdout, session.Stderr = os.Stdout, os.Stderr
	err = session.Run(command)
	var exit *ssh.ExitError
	if errors.As(err, &exit) {
		return exit.ExitStatus(), nil
	}
	if err != nil {
		return 255, err
	}
	return 0, nil
}
