// Package forward relays TCP connections from an inherited listening socket to an address that only this network
// namespace reaches: the way into a lab from outside.
package forward

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// dialTimeout bounds the wait for the target; a caller outside sees its connection closed after that.
const dialTimeout = 5 * time.Second

// Main runs "lablet forward".
func Main(_ context.Context, arguments []string) error {
	options := flag.NewFlagSet("lablet forward", flag.ContinueOnError)
	fd := options.Int("fd", -1, "number of the inherited listening socket")
	to := options.String("to", "", "HOST:PORT, or unix:PATH")
	if err := options.Parse(arguments); err != nil {
		return err
	}
	if *fd < 0 || *to == "" {
		return errors.New("--fd and --to are needed")
	}
	file := os.NewFile(uintptr(*fd), "inherited socket")
	listener, err := net.FileListener(file)
	if err != nil {
		return fmt.Errorf("file descriptor %d is not a listening socket: %w", *fd, err)
	}
	file.Close() // net made its own copy
	return Serve(listener, *to)
}

// Serve relays every connection until the listener is closed.
func Serve(listener net.Listener, to string) error {
	network, address := "tcp", to
	if path, found := strings.CutPrefix(to, "unix:"); found {
		network, address = "unix", path
	}
	for {
		outside, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			continue
		}
		go func() {
			inside, err := net.DialTimeout(network, address, dialTimeout)
			if err != nil {
				outside.Close()
				return
			}
			relay(outside, inside)
		}()
	}
}

// relay copies both ways; the end of one direction is passed on and leaves the other one open (kubectl exec, watches).
func relay(a, b net.Conn) {
	var both sync.WaitGroup
	both.Add(2)
	copyOneWay := func(to, from net.Conn) {
		defer both.Done()
		if _, err := io.Copy(to, from); err != nil {
			to.Close()
			from.Close()
			return
		}
		if half, ok := to.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite() // the other side may have closed already
		}
	}
	go copyOneWay(a, b)
	go copyOneWay(b, a)
	both.Wait()
	a.Close()
	b.Close()
}
