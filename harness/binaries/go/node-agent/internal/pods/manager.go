// Package pods runs the pods bound to this node. lblab's server, lablet, runs in place of all containers of a pod, as
// one process in the pod's network namespace.
package pods

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"lblab/node-agent/internal/control"
	"lblab/node-agent/internal/kube"
	"lblab/node-agent/internal/podnet"
	"lblab/node-agent/internal/proc"
)

// Manager has one worker for each pod of the node.
type Manager struct {
	shared
	tasks sync.WaitGroup

	mu      sync.Mutex
	workers map[types.UID]*worker
	// records of an earlier agent, by pod; they wait for the first list to tell which pods still exist.
	records map[types.UID]record
}

// NewManager reads what an earlier agent left and keeps its pods' addresses.
func NewManager(client *kube.Client, events *kube.Recorder, config Config) (*Manager, error) {
	m := &Manager{
		shared:  shared{Config: config, client: client, events: events, addresses: podnet.NewAllocator(config.PodCIDRs), network: make(chan struct{}, networkTasks)},
		workers: map[types.UID]*worker{}, records: map[types.UID]record{},
	}
	records, err := loadRecords(filepath.Join(config.RunDir, "pods"))
	if err != nil {
		return nil, err
	}
	var uids []string
	for _, r := range records {
		m.records[types.UID(r.UID)] = r
		m.addresses.Reserve(r.Addresses)
		uids = append(uids, r.UID)
	}
	removed, err := podnet.RemoveStale(uids)
	if len(removed) > 0 {
		slog.Info("stale links removed", "links", removed)
	}
	return m, err
}

// Run follows the node's pods until ctx ends. Their processes go on then.
func (m *Manager) Run(ctx context.Context) {
	kube.Follow(ctx, m.client, "/api/v1/pods", "spec.nodeName="+m.Node, kube.Handler[v1.Pod]{
		Replace: func(pods []v1.Pod) { m.replace(ctx, pods) },
		Change: func(kind watch.EventType, pod v1.Pod) {
			m.mu.Lock()
			defer m.mu.Unlock()
			if kind != watch.Deleted {
				m.see(ctx, &pod)
			} else if w := m.workers[pod.UID]; w != nil {
				w.update(&pod)
				w.vanish()
			}
		},
	})
	m.tasks.Wait()
}

// replace takes the whole list of the node's pods.
func (m *Manager) replace(ctx context.Context, pods []v1.Pod) {
	m.mu.Lock()
	defer m.mu.Unlock()
	listed := map[types.UID]bool{}
	for i := range pods {
		listed[pods[i].UID] = true
		m.see(ctx, &pods[i])
	}
	for uid, w := range m.workers {
		if !listed[uid] {
			w.vanish()
		}
	}
	for uid, r := range m.records {
		delete(m.records, uid)
		slog.Info("pod of an earlier agent is gone from the API server", "pod", r.Namespace+"/"+r.Name)
		m.tasks.Go(func() { m.removeOrphan(r) })
	}
}

// see handles a pod that was listed, added or modified.
func (m *Manager) see(ctx context.Context, pod *v1.Pod) {
	if ctx.Err() != nil {
		return // the workers have left: one more would start the pod a second time
	}
	pod.ManagedFields = nil // never used; a good part of a pod's memory
	if w := m.workers[pod.UID]; w != nil {
		w.update(pod)
		return
	}
	var adopted *record
	if r, found := m.records[pod.UID]; found && r.Name != "" {
		adopted = &r
	}
	delete(m.records, pod.UID)
	w := newWorker(&m.shared, pod, adopted)
	m.workers[pod.UID] = w
	m.tasks.Go(func() {
		w.run(ctx)
		m.mu.Lock()
		delete(m.workers, pod.UID)
		m.mu.Unlock()
	})
}

// removeOrphan ends what an earlier agent ran for a pod that no longer exists.
func (m *Manager) removeOrphan(r record) {
	f := m.folder(types.UID(r.UID))
	if process, err := proc.Adopt(r.PID, r.StartTicks); r.PID != 0 && err == nil {
		_ = process.Signal(syscall.SIGTERM)
		select {
		case <-process.Done:
		case <-time.After(minimumGracePeriod):
			_ = process.Signal(syscall.SIGKILL)
		}
	}
	if err := m.inNetwork(podnet.NewSandbox(f.netns(), r.UID, nil, nil).Remove); err != nil {
		slog.Error("sandbox of a pod that is gone", "uid", r.UID, "error", err)
	}
	m.addresses.Release(r.Addresses)
	if err := os.RemoveAll(string(f)); err != nil {
		slog.Error("folder of a pod that is gone", "uid", r.UID, "error", err)
	}
}

// find returns the worker of the pod "namespace/name"; of several, the one that does not terminate.
func (m *Manager) find(name string) (*worker, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found *worker
	for _, w := range m.workers {
		if pod, gone := w.latest(); pod.Namespace+"/"+pod.Name == name && !gone {
			if found == nil || pod.DeletionTimestamp == nil {
				found = w
			}
		}
	}
	if found == nil {
		return nil, fmt.Errorf("no pod %q on this node", name)
	}
	return found, nil
}

// List implements control.Pods.
func (m *Manager) List() []control.Pod {
	m.mu.Lock()
	defer m.mu.Unlock()
	pods := []control.Pod{}
	for _, w := range m.workers {
		if pod := w.shown(); pod.Name != "" {
			pods = append(pods, pod)
		}
	}
	return pods
}

// SetUnready implements control.Pods.
func (m *Manager) SetUnready(ctx context.Context, pod string, on bool) error {
	w, err := m.find(pod)
	if err != nil {
		return err
	}
	return w.setUnready(ctx, on)
}

// Kill implements control.Pods: SIGKILL to the pod's process, as if it had crashed.
func (m *Manager) Kill(pod string) error {
	w, err := m.find(pod)
	if err != nil {
		return err
	}
	return w.kill()
}
