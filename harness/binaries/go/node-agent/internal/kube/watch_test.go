package kube_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"lblab/node-agent/internal/kube"
	"lblab/node-agent/internal/kubetest"
)

const nodes = "/api/v1/nodes"

func named(name string) v1.Node { return v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}} }

// journal notes what a Handler is told, in short: "=a,b" for a list, "+a" and "-a" for changes.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, " ")
}

func (j *journal) handler() kube.Handler[v1.Node] {
	return kube.Handler[v1.Node]{
		Replace: func(nodes []v1.Node) {
			var names []string
			for _, node := range nodes {
				names = append(names, node.Name)
			}
			j.add("=" + strings.Join(names, ","))
		},
		Change: func(kind watch.EventType, node v1.Node) {
			j.add(map[watch.EventType]string{watch.Added: "+", watch.Modified: "~", watch.Deleted: "-"}[kind] + node.Name)
		},
	}
}

func (j *journal) waitFor(t *testing.T, wanted string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); j.text() != wanted; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("was told %q, want %q", j.text(), wanted)
		}
	}
}

func TestFollowGoesOnAfterTheServerWasAway(t *testing.T) {
	server := kubetest.New(t, nodes)
	server.Put(nodes, named("a"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var j journal
	go kube.Follow(ctx, server.Client(), nodes, "metadata.name=a", j.handler())
	j.waitFor(t, "=a")
	server.Put(nodes, named("a"))
	j.waitFor(t, "=a ~a")
	server.Stop()
	server.Remove(nodes, "a")
	server.Put(nodes, named("b"))
	time.Sleep(3 * kube.RetryInterval)
	server.Start()
	back := time.Now()
	j.waitFor(t, "=a ~a =b")
	if took := time.Since(back); took > 5*kube.RetryInterval {
		t.Errorf("listed again %s after the server was back", took)
	}
	server.Put(nodes, named("c"))
	server.Remove(nodes, "b")
	j.waitFor(t, "=a ~a =b +c -b")
}

func TestFailuresSayWhatTheyAre(t *testing.T) {
	server := kubetest.New(t, nodes)
	server.Put(nodes, named("a"))
	client := server.Client()
	exists := client.Create(t.Context(), nodes, named("a"), nil)
	missing := client.Get(t.Context(), nodes+"/b", nil)
	conflict := client.Patch(t.Context(), nodes+"/a", kube.MergePatch, map[string]any{"metadata": map[string]string{"uid": "other"}}, nil)
	if !kube.IsAlreadyExists(exists) || !kube.IsNotFound(missing) || !kube.IsConflict(conflict) {
		t.Errorf("exists: %v; missing: %v; conflict: %v", exists, missing, conflict)
	}
	if kube.IsConflict(exists) || kube.IsNotFound(exists) || kube.IsRefused(errors.New("connection refused")) {
		t.Error("one failure counts as another")
	}
	for code, refused := range map[int]bool{
		http.StatusUnprocessableEntity: true, http.StatusNotFound: true, http.StatusTooManyRequests: false,
		http.StatusForbidden: false, http.StatusServiceUnavailable: false,
	} {
		if kube.IsRefused(&kube.Failure{Code: code}) != refused {
			t.Errorf("HTTP %d: refused %v, want %v", code, !refused, refused)
		}
	}
}

func TestInsistTriesAgainUntilItSucceedsOrTheContextEnds(t *testing.T) {
	attempts := 0
	err := kube.Insist(t.Context(), "test", func(context.Context) error {
		if attempts++; attempts < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil || attempts != 3 {
		t.Errorf("error %v after %d attempts", err, attempts)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = kube.Insist(ctx, "test", func(context.Context) error { cancel(); return errors.New("never") })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

func TestRecorderSendsEvents(t *testing.T) {
	const events = "/api/v1/namespaces/default/events"
	server := kubetest.New(t, events)
	recorder := kube.NewRecorder(server.Client(), "worker1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go recorder.Run(ctx)
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "u"}}
	recorder.Pod(pod, v1.EventTypeWarning, "NotSupported", "no %s", "volumes")
	var j journal
	go kube.Follow(ctx, server.Client(), events, "", kube.Handler[v1.Event]{
		Replace: func(events []v1.Event) {
			for _, e := range events {
				j.add(e.InvolvedObject.Name + " " + e.Type + " " + e.Reason + " " + e.Message)
			}
		},
		Change: func(_ watch.EventType, e v1.Event) {
			j.add(e.InvolvedObject.Name + " " + e.Type + " " + e.Reason + " " + e.Message)
		},
	})
	j.waitFor(t, "web Warning NotSupported no volumes")
}
