package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// answerLines serves a UNIX socket that answers each line with what reply gives.
func answerLines(t *testing.T, path string, reply func(line string) string) {
	t.Helper()
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(conn).ReadString('\n')
			fmt.Fprintln(conn, reply(strings.TrimSpace(line)))
			conn.Close()
		}
	}()
}

func TestLabletClientSpeaksTheServersProtocol(t *testing.T) {
	lablet := Lablet{Path: filepath.Join(t.TempDir(), "control")}
	ready := true
	up := make(chan struct{})
	go func() { // comes up after the first attempts
		time.Sleep(20 * time.Millisecond)
		answerLines(t, lablet.Path, func(line string) string {
			switch line {
			case "ready":
			case "unready on":
				ready = false
			case "unready off":
				ready = true
			default:
				return `{"error":"what?"}`
			}
			return fmt.Sprintf(`{"ready":%v}`, ready)
		})
		close(up)
	}()
	if ready, err := lablet.WaitUp(t.Context()); !ready || err != nil {
		t.Fatalf("ready %v, %v", ready, err)
	}
	<-up
	if err := lablet.SetUnready(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if ready, err := lablet.Ready(t.Context()); ready || err != nil {
		t.Errorf("after unready on: ready %v, %v", ready, err)
	}
	if err := lablet.ask(t.Context(), "nonsense", nil); err == nil || !strings.Contains(err.Error(), "what?") {
		t.Errorf("an error reply gave %v", err)
	}
}

func TestWaitUpGivesUpWithTheReason(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := (Lablet{Path: filepath.Join(t.TempDir(), "none")}).WaitUp(ctx); err == nil {
		t.Error("a server that is not there answered")
	}
}

// fakePods notes what the server asks of it.
type fakePods struct{ asked []string }

func (f *fakePods) List() []Pod {
	return []Pod{{Namespace: "default", Name: "web", PID: 42, Ready: true}}
}

func (f *fakePods) SetUnready(_ context.Context, pod string, on bool) error {
	f.asked = append(f.asked, fmt.Sprint("unready ", pod, " ", on))
	return nil
}

func (f *fakePods) Kill(pod string) error { return errors.New("no pod " + pod) }

func TestAgentSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node-agent.sock")
	stale, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false) // as when an agent is killed
	stale.Close()
	listener, err := Listen(path)
	if err != nil {
		t.Fatalf("over a stale socket: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	pods, served := &fakePods{}, make(chan error)
	go func() { served <- Serve(ctx, listener, pods) }()

	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	replies := bufio.NewReader(conn)
	for request, wanted := range map[string]string{
		`{"op":"unready","pod":"default/web","on":true}`: `{"ok":true}`,
		`{"op":"kill","pod":"x"}`:                        `{"error":"no pod x"}`,
		`{"op":"reboot"}`:                                `{"error":"unknown op \"reboot\"; there are pods, unready and kill"}`,
	} {
		fmt.Fprintln(conn, request)
		if reply, _ := replies.ReadString('\n'); strings.TrimSpace(reply) != wanted {
			t.Errorf("%s: reply %s, want %s", request, reply, wanted)
		}
	}
	fmt.Fprintln(conn, `not json`)
	if reply, _ := replies.ReadString('\n'); !strings.HasPrefix(reply, `{"error":`) {
		t.Errorf("reply to garbage: %s", reply)
	}
	fmt.Fprintln(conn, `{"op":"pods"}`)
	var list struct{ Pods []Pod }
	reply, _ := replies.ReadBytes('\n')
	if err := json.Unmarshal(reply, &list); err != nil || len(list.Pods) != 1 || list.Pods[0].PID != 42 {
		t.Errorf("pods: %s, %v", reply, err)
	}
	if len(pods.asked) != 1 || pods.asked[0] != "unready default/web true" {
		t.Errorf("asked %v", pods.asked)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("end: %v", err)
	}
}
