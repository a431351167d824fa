// Package commands answers commands on a UNIX socket: each line of words gets one line of JSON.
package commands

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// Failure is the answer to a command that cannot be carried out.
type Failure struct {
	Error string `json:"error"`
}

// Failed makes a failure of a sentence.
func Failed(format string, arguments ...any) Failure {
	return Failure{fmt.Sprintf(format, arguments...)}
}

// Listen binds a control socket; a file that a killed process left behind is replaced.
func Listen(path string) (net.Listener, error) {
	listener, err := net.Listen("unix", path)
	if err == nil {
		return listener, nil
	}
	if probe, dialError := net.Dial("unix", path); dialError == nil {
		probe.Close()
		return nil, fmt.Errorf("another process answers on %s", path)
	}
	if removeError := os.Remove(path); removeError != nil {
		return nil, err
	}
	return net.Listen("unix", path)
}

// Serve answers until the listener is closed. Several connections may ask at once; execute locks what it must.
func Serve(listener net.Listener, execute func(words []string) any) {
	for {
		connection, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			go answer(connection, execute)
		}
	}
}

func answer(connection net.Conn, execute func(words []string) any) {
	defer connection.Close()
	lines := bufio.NewScanner(connection)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		text, err := json.Marshal(execute(words))
		if err != nil {
			panic(err) // answers are plain data
		}
		if _, err := connection.Write(append(text, '\n')); err != nil {
			return
		}
	}
}
