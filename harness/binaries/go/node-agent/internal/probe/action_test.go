package probe

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func container(probe v1.ProbeHandler, ports ...v1.ContainerPort) *v1.Container {
	return &v1.Container{Name: "c", Ports: ports, ReadinessProbe: &v1.Probe{ProbeHandler: probe}}
}

// split returns the host and port of a test server.
func split(t *testing.T, address string) (host string, port int) {
	t.Helper()
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	if port, err = strconv.Atoi(text); err != nil {
		t.Fatal(err)
	}
	return host, port
}

func TestHTTPProbe(t *testing.T) {
	var asked *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r
		if r.URL.Path == "/302" {
			w.Header().Set("Location", "/503")
		}
		code, _ := strconv.Atoi(r.URL.Path[1:])
		w.WriteHeader(code)
	}))
	defer server.Close()
	host, port := split(t, server.Listener.Addr().String())
	for path, success := range map[string]bool{"/200": true, "/399": true, "/302": true, "/400": false, "/503": false, "204": true} {
		get := &v1.HTTPGetAction{
			Path: path, Port: intstr.FromString("web"), HTTPHeaders: []v1.HTTPHeader{{Name: "Host", Value: "shop.example"}},
		}
		action, err := NewAction(container(v1.ProbeHandler{HTTPGet: get}, v1.ContainerPort{Name: "web", ContainerPort: int32(port)}), host)
		if err != nil {
			t.Fatal(err)
		}
		if err := action(t.Context()); (err == nil) != success {
			t.Errorf("%s: %v, want success %v", path, err, success)
		}
	}
	if asked.Host != "shop.example" || asked.UserAgent() != "kube-probe/1.34" {
		t.Errorf("Host %q, User-Agent %q", asked.Host, asked.UserAgent())
	}
}

func TestTCPProbe(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host, port := split(t, listener.Addr().String())
	action, err := NewAction(container(v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromInt32(int32(port))}}), host)
	if err != nil {
		t.Fatal(err)
	}
	if err := action(t.Context()); err != nil {
		t.Errorf("open port: %v", err)
	}
	listener.Close()
	if err := action(t.Context()); err == nil {
		t.Error("a closed port was a success")
	}
}

func TestProbesThatCannotBeRunHaveNoAction(t *testing.T) {
	action, err := NewAction(container(v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"true"}}}), "192.0.2.1")
	if action != nil || err != nil {
		t.Errorf("exec: action %v, error %v", action != nil, err)
	}
	_, err = NewAction(container(v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromString("none")}}), "192.0.2.1")
	if err == nil {
		t.Error("a port name that no port has was accepted")
	}
}

func TestRunKeepsThePeriodAndTheTimeout(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	results := make(chan error)
	began := time.Now()
	// The attempt takes the whole timeout of 1 s, which is also the period: the next is due at once.
	action := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	go Run(ctx, &v1.Probe{PeriodSeconds: 1, TimeoutSeconds: 1}, action, began, func(err error) { results <- err })
	for i := 1; i <= 2; i++ {
		if err := <-results; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("probe %d: %v, want a timeout", i, err)
		}
		if took := time.Since(began); took < time.Duration(i)*time.Second || took > time.Duration(i)*time.Second+800*time.Millisecond {
			t.Errorf("result %d came after %s", i, took)
		}
	}
}
