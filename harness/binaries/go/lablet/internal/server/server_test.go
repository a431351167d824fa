package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lblab/lablet/internal/clock"
	"lblab/lablet/internal/commands"
	"lblab/lablet/internal/wire"
)

// start runs a pod with a TCP and a UDP port on every loopback address and returns the port number and its control socket.
func start(t *testing.T) (port int, control string) {
	t.Helper()
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	number := free.Addr().(*net.TCPAddr).Port
	free.Close()
	control = filepath.Join(t.TempDir(), "control")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	server := &Server{
		Node: "worker1", Pod: "default/nginx", Instance: 42,
		Addresses: []netip.Addr{netip.MustParseAddr("10.244.1.2"), netip.MustParseAddr("fd00::2")},
	}
	ports := []listenPort{{"tcp", number}, {"udp", number}}
	go func() { done <- server.run(ctx, ports, control, 0) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(5 * time.Second); ; {
		if connection, err := net.Dial("unix", control); err == nil {
			connection.Close()
			return number, control
		}
		if time.Now().After(deadline) {
			t.Fatal("no control socket after 5 s")
		}
		time.Sleep(time.Millisecond)
	}
}

type listenPort = port // "port" is a variable in start

func ask(t *testing.T, control, command string, reply any) {
	t.Helper()
	connection, err := net.Dial("unix", control)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	fmt.Fprintln(connection, command)
	line, err := bufio.NewReader(connection).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(line, reply); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
}

func get(t *testing.T, client *http.Client, url, accept string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", accept)
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func TestHTTPSaysWhoAnswers(t *testing.T) {
	port, control := start(t)
	for host, podIP := range map[string]string{"127.0.0.1": "10.244.1.2", "[::1]": "fd00::2"} {
		url := fmt.Sprintf("http://%s:%d/some/path", host, port)
		connections := 0
		client := &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				connections++
				return (&net.Dialer{}).DialContext(ctx, network, address)
			},
		}}
		for range 3 {
			before := clock.Now()
			response, body := get(t, client, url, "*/*")
			var identity Identity
			if err := json.Unmarshal([]byte(body), &identity); err != nil {
				t.Fatal(err)
			}
			if identity.Node != "worker1" || identity.Pod != "default/nginx" || identity.PodIP != podIP || identity.Port != port {
				t.Errorf("identity %+v", identity)
			}
			if client := netip.MustParseAddrPort(identity.Client); !client.Addr().IsLoopback() || client.Addr().Is4In6() {
				t.Errorf("client %s", identity.Client)
			}
			if identity.Now < before || identity.Now > clock.Now() {
				t.Errorf("time %d is not between sending and receiving", identity.Now)
			}
			if response.Header.Get("X-Lblab-Node") != "worker1" || response.Header.Get("X-Lblab-Pod") != "default/nginx" ||
				response.Header.Get("Content-Type") != "application/json" {
				t.Errorf("header %v", response.Header)
			}
		}
		if connections != 1 {
			t.Errorf("%d connections for 3 requests", connections)
		}
	}
	var reply map[string]any
	ask(t, control, "unready on", &reply)
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	if response, _ := get(t, http.DefaultClient, url, "*/*"); response.StatusCode != 503 || reply["ready"] != false {
		t.Errorf("unready: %d, %v", response.StatusCode, reply)
	}
	ask(t, control, "unready off", &reply)
	if response, _ := get(t, http.DefaultClient, url, "*/*"); response.StatusCode != 200 {
		t.Errorf("ready again: %d", response.StatusCode)
	}
	response, body := get(t, http.DefaultClient, url, "text/html,application/json;q=0.9")
	if !strings.HasPrefix(response.Header.Get("Content-Type"), "text/html") || !strings.Contains(body, "worker1") {
		t.Errorf("a browser got %v %s", response.Header, body)
	}
}

func TestHTTPByHand(t *testing.T) {
	port, _ := start(t)
	for name, test := range map[string]struct {
		send, status string
		closed       bool
	}{
		"1.0 closes":           {"GET / HTTP/1.0\r\n\r\n", "200", true},
		"1.0 with keep-alive":  {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200", false},
		"close":                {"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "200", true},
		"body is skipped":      {"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nGET ", "200", false},
		"chunked body closes":  {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "200", true},
		"negative length":      {"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "200", true},
		"nonsense afterwards":  {"GET / HTTP/1.1\r\n\r\nnonsense\r\n", "200", true},
		"any method and path":  {"DELETE /x?y=z HTTP/1.1\r\n\r\n", "200", false},
		"head without a body":  {"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n", "200", true},
		"line ends without CR": {"GET / HTTP/1.1\n\n", "200", false},
	} {
		t.Run(name, func(t *testing.T) {
			connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				t.Fatal(err)
			}
			defer connection.Close()
			_ = connection.SetDeadline(time.Now().Add(5 * time.Second))
			fmt.Fprint(connection, test.send)
			reader := bufio.NewReader(connection)
			request, _ := http.NewRequest(strings.Fields(test.send)[0], "/", nil)
			response, err := http.ReadResponse(reader, request)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, response.Body); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(response.Status, test.status) {
				t.Errorf("status %s", response.Status)
			}
			if !test.closed {
				fmt.Fprint(connection, "GET / HTTP/1.1\r\n\r\n")
				if response, err = http.ReadResponse(reader, nil); err != nil || response.StatusCode != 200 {
					t.Errorf("second request: %v", err)
				}
				return
			}
			if rest, err := io.ReadAll(reader); err != nil || len(rest) > 0 && !strings.HasPrefix(string(rest), "HTTP/1.1 400") {
				t.Errorf("not closed: %q, %v", rest, err)
			}
		})
	}
}

func TestEchoOfLines(t *testing.T) {
	port, _ := start(t)
	connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(5 * time.Second))
	reader := bufio.NewReader(connection)
	fmt.Fprint(connection, "hello\n")
	var identity Identity
	line, _ := reader.ReadBytes('\n')
	if err := json.Unmarshal(line, &identity); err != nil || identity.Node != "worker1" {
		t.Fatalf("first line %q", line)
	}
	if line, _ := reader.ReadString('\n'); line != "hello\n" {
		t.Fatalf("echo %q", line)
	}
	before := clock.Now()
	fmt.Fprint(connection, "LBLB 7 123\n")
	var sequence, sent, received, replied int64
	text, _ := reader.ReadString('\n')
	if _, err := fmt.Sscanf(text, "LBLB %d %d %d %d\n", &sequence, &sent, &received, &replied); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if sequence != 7 || sent != 123 || received < before || replied < received || replied > clock.Now() {
		t.Fatalf("stamps %q", text)
	}
}

func exchange(t *testing.T, connection net.Conn, request []byte) []byte {
	t.Helper()
	_ = connection.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := connection.Write(request); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 2048)
	n, err := connection.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	return buffer[:n]
}

func dialUDP(t *testing.T, host string, port int) net.Conn {
	t.Helper()
	connection, err := net.Dial("udp", net.JoinHostPort(host, fmt.Sprint(port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return connection
}

func TestDatagramsAreEchoedFromTheAddressThatWasAsked(t *testing.T) {
	port, control := start(t)
	// A connected socket takes replies from the address that it asked only; 127.0.0.9 is not what the kernel would choose.
	for _, host := range []string{"127.0.0.9", "::1"} {
		connection := dialUDP(t, host, port)
		if got := exchange(t, connection, []byte("anything")); string(got) != "anything" {
			t.Errorf("echo %q", got)
		}
		var identity Identity
		if err := json.Unmarshal(exchange(t, connection, []byte("whoami")), &identity); err != nil ||
			identity.Client != connection.LocalAddr().String() {
			t.Errorf("identity %+v, %v", identity, err)
		}
		var reply struct{ Peers []peerAccount }
		ask(t, control, "peers", &reply)
		last := reply.Peers[len(reply.Peers)-1]
		if last.Peer != connection.LocalAddr().String() || last.Packets != 2 || last.Flow != -1 || last.First >= last.Last {
			t.Errorf("peers %+v", reply.Peers)
		}
	}
}

func TestProbesAreAccountedForByFlow(t *testing.T) {
	port, control := start(t)
	first, second := dialUDP(t, "127.0.0.1", port), dialUDP(t, "127.0.0.1", port)

	follower, err := net.Dial("unix", control)
	if err != nil {
		t.Fatal(err)
	}
	defer follower.Close()
	_ = follower.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintln(follower, "packets 5")
	stream := bufio.NewScanner(follower)
	if !stream.Scan() {
		t.Fatal(stream.Err())
	}

	probe := func(connection net.Conn, sequence uint32) wire.Answer {
		request := make([]byte, 60)
		packet := wire.Packet{Kind: wire.Request, Session: 9, Flow: 5, Sequence: sequence, ReplySize: 300, Sent: clock.Now()}
		packet.Put(request)
		reply := exchange(t, connection, request)
		got := clock.Now()
		var answer wire.Answer
		var echoed wire.Packet
		if err := errors.Join(echoed.Parse(reply), answer.Parse(reply)); err != nil {
			t.Fatal(err)
		}
		if len(reply) != 300 || echoed.Sequence != sequence || string(answer.Identity) != "worker1 default/nginx" || answer.Instance != 42 {
			t.Fatalf("reply of %d bytes: %+v %+v", len(reply), echoed, answer)
		}
		if answer.Peer.String() != connection.LocalAddr().String() {
			t.Errorf("seen as %v", answer.Peer)
		}
		if answer.Received < packet.Sent-clock.MaxDrift || answer.Replied < answer.Received-clock.MaxDrift || got < answer.Replied {
			t.Errorf("stamps %d %d %d %d", packet.Sent, answer.Received, answer.Replied, got)
		}
		return answer
	}
	probe(first, 1)
	probe(first, 2)
	answer := probe(first, 6)
	if answer.GapCount != 1 || answer.Gaps[0] != (wire.Gap{From: 3, To: 5}) || answer.First != 1 || answer.Highest != 6 || answer.Count != 3 {
		t.Errorf("answer %+v", answer)
	}
	probe(second, 7) // the same flow from another port: what a client sees as a move of the address translation
	probe(second, 7)

	var log struct{ Flows []flowAccount }
	ask(t, control, "log 5", &log)
	if len(log.Flows) != 1 {
		t.Fatalf("log %+v", log)
	}
	account := log.Flows[0]
	if account.Count != 4 || account.Duplicates != 1 || account.Moves != 1 || len(account.Gaps) != 1 || account.Session != "0000000000000009" {
		t.Errorf("account %+v", account)
	}
	ask(t, control, "log 6", &log)
	if len(log.Flows) != 0 {
		t.Errorf("log of a flow that is not there: %+v", log)
	}
	var reply struct{ Peers []peerAccount }
	ask(t, control, "peers", &reply)
	if len(reply.Peers) != 2 || reply.Peers[0].MovedFrom != "" || reply.Peers[1].MovedFrom != first.LocalAddr().String() {
		t.Errorf("peers %+v", reply.Peers)
	}
	for i, sequence := range []float64{1, 2, 6, 7, 7} {
		var line []any
		if !stream.Scan() {
			t.Fatal(stream.Err())
		}
		if err := json.Unmarshal(stream.Bytes(), &line); err != nil || line[2] != sequence || (line[7] == 1.0) != (i == 4) {
			t.Errorf("line %d: %s %v", i, stream.Text(), err)
		}
	}
}

func TestControlExplainsItself(t *testing.T) {
	_, control := start(t)
	for _, command := range []string{"nonsense", "unready", "unready maybe", "log x", "packets x"} {
		var reply failure
		ask(t, control, command, &reply)
		if reply.Error == "" {
			t.Errorf("%s was accepted", command)
		}
	}
	var ready struct {
		Ready    bool
		Instance string
	}
	ask(t, control, "ready", &ready)
	if !ready.Ready || ready.Instance != "000000000000002a" {
		t.Errorf("ready %+v", ready)
	}
	if _, err := commands.Listen(control); err == nil {
		t.Error("the socket of a living server was taken over")
	}
}

func TestOptions(t *testing.T) {
	for _, text := range []string{"tcp", "tcp/0", "tcp/65536", "sctp/80", "udp/x"} {
		if _, err := parsePort(text); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
	if p, err := parsePort("udp/7777"); err != nil || p != (port{"udp", 7777}) {
		t.Errorf("%v %v", p, err)
	}
}
