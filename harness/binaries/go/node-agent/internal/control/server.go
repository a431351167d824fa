package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
)

// Pod is a pod as the agent's control socket shows it.
type Pod struct {
	Namespace   string   `json:"namespace"`
	Name        string   `json:"name"`
	UID         string   `json:"uid"`
	IP          string   `json:"ip"`
	IPs         []string `json:"ips"`
	PID         int      `json:"pid"` // 0 while the process is not running
	Ready       bool     `json:"ready"`
	Serving     bool     `json:"serving"` // runs and has not been told to be unready
	Restarts    int      `json:"restarts"`
	Terminating bool     `json:"terminating"`
	Netns       string   `json:"netns"`   // file to enter its network namespace by; empty with hostNetwork
	Veth        string   `json:"veth"`    // node side of its link; empty with hostNetwork
	Control     string   `json:"control"` // control socket of its server
	Log         string   `json:"log"`     // output of its server
}

// Pods is what the server acts on. A pod is named "namespace/name".
type Pods interface {
	List() []Pod
	SetUnready(ctx context.Context, pod string, on bool) error
	Kill(pod string) error
}

// request is one line sent to the agent.
type request struct {
	Op  string `json:"op"`
	Pod string `json:"pod"`
	On  bool   `json:"on"`
}

// Listen makes the agent's control socket, replacing one that a killed agent left behind.
func Listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return net.Listen("unix", path)
}

// Serve answers requests until ctx ends: one JSON object a line each way, several on one connection if wanted.
func Serve(ctx context.Context, listener net.Listener, pods Pods) error {
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			lines := bufio.NewScanner(conn)
			replies := json.NewEncoder(conn)
			for lines.Scan() {
				if replies.Encode(answer(ctx, pods, lines.Bytes())) != nil {
					return
				}
			}
		}()
	}
}

// answer carries out one request and returns its reply: {"error": text} or what the operation gives.
func answer(ctx context.Context, pods Pods, line []byte) map[string]any {
	var asked request
	err := json.Unmarshal(line, &asked)
	if err == nil {
		switch asked.Op {
		case "pods":
			return map[string]any{"pods": pods.List()}
		case "unready":
			err = pods.SetUnready(ctx, asked.Pod, asked.On)
		case "kill":
			err = pods.Kill(asked.Pod)
		default:
			err = fmt.Errorf("unknown op %q; there are pods, unready and kill", asked.Op)
		}
	}
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	return map[string]any{"ok": true}
}
