package pods

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync"

	v1 "k8s.io/api/core/v1"

	"lblab/node-agent/internal/kube"
)

// publisher writes one pod's status to the API server, in the background: a pod goes on while the server is away,
// and when it is back only the latest status is sent.
type publisher struct {
	client *kube.Client
	path   string
	uid    string
	wake   chan struct{}

	mu       sync.Mutex
	wanted   []byte // nil: nothing to send
	sent     []byte
	revision int // counts what was wanted: the same again is another
}

func newPublisher(client *kube.Client, pod *v1.Pod) *publisher {
	return &publisher{client: client, path: podPath(pod) + "/status", uid: string(pod.UID), wake: make(chan struct{}, 1)}
}

func podPath(pod *v1.Pod) string { return "/api/v1/namespaces/" + pod.Namespace + "/pods/" + pod.Name }

// set asks for a status to be sent, unless it is the one sent last and again is false.
func (p *publisher) set(status v1.PodStatus, again bool) {
	data, err := json.Marshal(statusPatch(p.uid, status))
	if err != nil {
		panic(err) // API types only
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !again && p.wanted == nil && bytes.Equal(data, p.sent) {
		return
	}
	p.wanted = data
	p.revision++
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// statusPatch is a strategic merge patch; the uid makes it fail rather than hit a new pod of the same name.
func statusPatch(uid string, status v1.PodStatus) map[string]any {
	return map[string]any{"metadata": map[string]string{"uid": uid}, "status": status}
}

// run sends until ctx ends.
func (p *publisher) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
			_ = kube.Insist(ctx, "publish the status of "+p.path, p.send)
		}
	}
}

// send sends the latest wanted status; a pod that is gone needs none.
func (p *publisher) send(ctx context.Context) error {
	p.mu.Lock()
	data, revision := p.wanted, p.revision
	p.mu.Unlock()
	if data == nil {
		return nil
	}
	err := p.client.Patch(ctx, p.path, kube.StrategicMergePatch, json.RawMessage(data), nil)
	if err != nil && !kube.IsRefused(err) {
		return err
	}
	if err != nil && !kube.IsNotFound(err) {
		slog.Error("status refused", "pod", p.path, "error", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = data
	if p.revision == revision {
		p.wanted = nil
	}
	return nil
}
