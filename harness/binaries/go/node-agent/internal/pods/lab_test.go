package pods

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"lblab/node-agent/internal/control"
	"lblab/node-agent/internal/kube"
	"lblab/node-agent/internal/kubetest"
	"lblab/node-agent/internal/nstest"
	"lblab/node-agent/internal/podnet"
)

const collection = "/api/v1/pods"

// TestMain also is the lablet of these tests, which the manager runs as "PROGRAM serve ...".
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		serve(os.Args[2:])
		return
	}
	nstest.Main(m)
}

// serve is as much of "lablet serve" as the agent needs: HTTP on every TCP port, the control socket, SIGTERM.
func serve(arguments []string) {
	var unready atomic.Bool
	var path string
	for i, argument := range arguments {
		if argument == "--control" {
			path = arguments[i+1]
		}
		if port, isTCP := strings.CutPrefix(argument, "tcp/"); isTCP {
			go http.ListenAndServe(":"+port, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if unready.Load() {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			}))
		}
	}
	_ = os.Remove(path)
	listener, err := net.Listen("unix", path)
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(conn).ReadString('\n')
			if on, isUnready := strings.CutPrefix(line, "unready "); isUnready {
				unready.Store(on == "on\n")
			}
			fmt.Fprintf(conn, "{\"ready\":%v}\n", !unready.Load())
			conn.Close()
		}
	}()
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	<-terminated
}

// lab is a node with its API server.
type lab struct {
	*testing.T
	server  *kubetest.Server
	config  Config
	manager *Manager
	stop    func() // ends the agent, not the pods
}

func newLab(t *testing.T) *lab {
	nstest.Need(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	runDir, err := os.MkdirTemp("", "na") // t.TempDir() holds the test's name: too long for UNIX sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(runDir) })
	l := &lab{T: t, server: kubetest.New(t, collection, "/api/v1/namespaces/default/events"), config: Config{
		Node: "worker1", HostAddresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24")}, Lablet: program, RunDir: runDir,
	}}
	if err := podnet.PrepareNode(l.config.PodCIDRs); err != nil {
		t.Fatal(err)
	}
	l.start()
	t.Cleanup(l.end)
	return l
}

// start starts an agent.
func (l *lab) start() {
	client := l.server.Client()
	events := kube.NewRecorder(client, "worker1")
	manager, err := NewManager(client, events, l.config)
	if err != nil {
		l.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go events.Run(ctx)
	go func() { defer close(done); manager.Run(ctx) }()
	l.manager, l.stop = manager, func() { cancel(); <-done }
}

// end deletes all pods, so that their processes end, and then ends the agent.
func (l *lab) end() {
	for _, p := range l.manager.List() {
		l.server.Remove(collection, p.Name)
	}
	l.waitFor("the end of all pods", func() bool { return len(l.manager.List()) == 0 })
	l.stop()
	if left, err := os.ReadDir(filepath.Join(l.config.RunDir, "pods")); err != nil || len(left) > 0 {
		l.Errorf("left behind: %v, %v", left, err)
	}
}

func (l *lab) waitFor(what string, holds func() bool) {
	l.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			l.Fatalf("waited in vain for %s; pods: %+v", what, l.manager.List())
		}
	}
}

// run creates a pod and waits until it is ready.
func (l *lab) run(name string, change func(*v1.Pod)) control.Pod {
	l.Helper()
	l.create(name, change)
	l.waitFor("readiness of "+name, l.ready(name, true))
	return l.listed(name)
}

func (l *lab) create(name string, change func(*v1.Pod)) {
	l.server.Put(collection, pod(func(p *v1.Pod) {
		p.Name, p.UID = name, "" // the server gives it one
		if change != nil {
			change(p)
		}
	}))
}

func (l *lab) get(name string) (p v1.Pod) {
	l.server.Read(collection, name, &p)
	return p
}

func (l *lab) ready(name string, want bool) func() bool {
	return func() bool {
		p := l.get(name)
		return p.Status.Phase == v1.PodRunning && isTrue(p.Status.Conditions, v1.PodReady) == want
	}
}

// listed returns the pod as the agent's control socket would show it; zero when it is not there.
func (l *lab) listed(name string) control.Pod {
	pods := l.manager.List()
	at := slices.IndexFunc(pods, func(p control.Pod) bool { return p.Name == name })
	if at < 0 {
		return control.Pod{}
	}
	return pods[at]
}

// delete marks a pod as deleted, as the API server does for an orderly deletion.
func (l *lab) delete(name string, grace int64) {
	p := l.get(name)
	now := metav1.Now()
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &now, &grace
	l.server.Put(collection, p)
}

func (l *lab) gone(name string) func() bool {
	return func() bool { return !l.server.Read(collection, name, &v1.Pod{}) }
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }
