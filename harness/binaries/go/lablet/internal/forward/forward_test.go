package forward

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// shout answers every line with itself, and the end of the stream with a last line.
func shout(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			lines := bufio.NewScanner(connection)
			for lines.Scan() {
				fmt.Fprintf(connection, "%s!\n", lines.Text())
			}
			fmt.Fprintln(connection, "end")
		}()
	}
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

func TestBothWaysAndHalfClose(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		address, prefix := "127.0.0.1:0", ""
		if network == "unix" {
			address, prefix = filepath.Join(t.TempDir(), "target"), "unix:"
		}
		target := listen(t, network, address)
		go shout(target)
		entrance := listen(t, "tcp", "127.0.0.1:0")
		go func() { _ = Serve(entrance, prefix+target.Addr().String()) }()

		connection, err := net.Dial("tcp", entrance.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = connection.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprintln(connection, "hello")
		_ = connection.(*net.TCPConn).CloseWrite()
		got, err := io.ReadAll(connection)
		if err != nil || string(got) != "hello!\nend\n" {
			t.Errorf("%s: got %q, %v", network, got, err)
		}
	}
}

func TestDeadTargetClosesTheConnection(t *testing.T) {
	target := listen(t, "tcp", "127.0.0.1:0")
	target.Close()
	entrance := listen(t, "tcp", "127.0.0.1:0")
	go func() { _ = Serve(entrance, target.Addr().String()) }()
	connection, err := net.Dial("tcp", entrance.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = connection.SetDeadline(time.Now().Add(5 * time.Second))
	if got, err := io.ReadAll(connection); len(got) > 0 || err != nil && err.(net.Error).Timeout() {
		t.Errorf("got %q, %v", got, err)
	}
}
