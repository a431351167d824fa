package pods

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"lblab/node-agent/internal/control"
	"lblab/node-agent/internal/kube"
	"lblab/node-agent/internal/podnet"
	"lblab/node-agent/internal/proc"
)

// Config is what all pods of the node share.
type Config struct {
	Node          string
	HostAddresses []netip.Addr
	PodCIDRs      []netip.Prefix
	Lablet        string // path of the program that serves in place of every image
	RunDir        string
}

func (c Config) folder(uid types.UID) folder {
	return folder(filepath.Join(c.RunDir, "pods", string(uid)))
}

// shared is what the workers use together.
type shared struct {
	Config
	client    *kube.Client
	events    *kube.Recorder
	addresses *podnet.Allocator
	network   chan struct{} // has room for networkTasks
}

// networkTasks is how many pods' networks are made or removed at a time. The kernel has one lock for it, and every
// task that waits for the lock would hold a thread of the agent.
const networkTasks = 4

// inNetwork carries out work on a pod's network when its turn has come.
func (s *shared) inNetwork(work func() error) error {
	s.network <- struct{}{}
	defer func() { <-s.network }()
	return work()
}

// worker carries one pod from its appearance to its deletion, in one goroutine: everything below "owned by run" is
// touched by no other; others post functions into its inbox.
type worker struct {
	*shared
	folder folder
	inbox  chan func()
	change chan struct{} // the pod was seen anew, or is gone
	done   chan struct{} // run has returned

	mu   sync.Mutex
	pod  *v1.Pod
	gone bool
	view control.Pod

	// Owned by run.
	publisher  *publisher
	record     record
	sandbox    *podnet.Sandbox // nil with hostNetwork or before it is made
	process    *proc.Process   // nil while not running
	serving    bool            // the server said that it is ready
	probed     map[string]bool // readiness of containers that have a probe
	stopProbes context.CancelFunc
	restart    *time.Timer // nil: no restart is due
	waiting    string      // why nothing runs
	message    string
	finished   bool
	conditions []v1.PodCondition // as published last
}

func newWorker(s *shared, pod *v1.Pod, adopted *record) *worker {
	w := &worker{
		shared: s, folder: s.folder(pod.UID), pod: pod, publisher: newPublisher(s.client, pod),
		inbox: make(chan func()), change: make(chan struct{}, 1), done: make(chan struct{}),
		conditions: pod.Status.Conditions, stopProbes: func() {},
		record: record{
			UID: string(pod.UID), Namespace: pod.Namespace, Name: pod.Name, HostNetwork: pod.Spec.HostNetwork, PodStarted: time.Now(),
		},
	}
	if adopted != nil {
		w.record = *adopted
	}
	return w
}

// update hands over a new state of the pod.
func (w *worker) update(pod *v1.Pod) {
	w.mu.Lock()
	w.pod = pod
	w.mu.Unlock()
	w.poke()
}

// vanish tells that the API server no longer has the pod.
func (w *worker) vanish() {
	w.mu.Lock()
	w.gone = true
	w.mu.Unlock()
	w.poke()
}

func (w *worker) poke() {
	select {
	case w.change <- struct{}{}:
	default:
	}
}

func (w *worker) latest() (pod *v1.Pod, gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pod, w.gone
}

// post lets run call f; false when it has returned.
func (w *worker) post(f func()) bool {
	select {
	case w.inbox <- f:
		return true
	case <-w.done:
		return false
	}
}

// run lives as long as the pod is in the API server or its process runs, or until ctx ends, which leaves the
// process running for the next agent.
func (w *worker) run(ctx context.Context) {
	defer close(w.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go w.publisher.run(ctx)

	pod, gone := w.latest()
	if pod.DeletionTimestamp == nil && !gone {
		w.begin(ctx)
	} else {
		w.adoptProcess(ctx)
	}
	for {
		pod, gone := w.latest()
		if gone || pod.DeletionTimestamp != nil {
			w.terminate(ctx)
			return
		}
		if !w.step(ctx, nil) {
			return
		}
	}
}

// step waits for the next thing to happen to the pod and handles it. It returns false when the agent ends, and true
// also when the deadline (nil: none) is reached.
func (w *worker) step(ctx context.Context, deadline <-chan time.Time) bool {
	var ended chan proc.Exit
	if w.process != nil {
		ended = w.process.Done
	}
	var restart <-chan time.Time
	if w.restart != nil {
		restart = w.restart.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-deadline:
	case f := <-w.inbox:
		f()
	case exit := <-ended:
		w.ended(ctx, exit)
	case <-restart:
		w.restart = nil
		w.start(ctx)
	case <-w.change:
		if pod, gone := w.latest(); !gone {
			w.publish(contradicts(pod.Status, w.status(pod)))
		}
	}
	return true
}

// observed gathers what the agent knows of the pod.
func (w *worker) observed(pod *v1.Pod) observed {
	ready := make(map[string]bool, len(pod.Spec.Containers))
	for _, container := range pod.Spec.Containers {
		probed, hasProbe := w.probed[container.Name]
		ready[container.Name] = probed || !hasProbe && w.serving
	}
	addresses := w.record.Addresses
	if w.record.HostNetwork {
		addresses = w.HostAddresses
	}
	return observed{
		Addresses: addresses, HostAddresses: w.HostAddresses, PodStarted: w.record.PodStarted,
		Running: w.process != nil, Started: w.record.Started, Ready: ready, Restarts: w.record.Restarts,
		Last: w.record.Last, Waiting: w.waiting, Message: w.message, Finished: w.finished,
	}
}

func (w *worker) status(pod *v1.Pod) v1.PodStatus {
	return podStatus(pod, w.observed(pod), w.conditions, time.Now())
}

// publish sends the pod's status if it changed, or in any case with again.
func (w *worker) publish(again bool) {
	pod, _ := w.latest()
	status := w.status(pod)
	w.conditions = status.Conditions
	w.show(pod, status)
	w.publisher.set(status, again) // last: what the API server shows, the control socket shows as well
}

// show prepares what the control socket lists.
func (w *worker) show(pod *v1.Pod, status v1.PodStatus) {
	view := control.Pod{
		Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID), Ready: isTrue(status.Conditions, v1.PodReady),
		Serving: w.process != nil && w.serving, Restarts: w.record.Restarts, Terminating: pod.DeletionTimestamp != nil,
		Control: w.folder.control(), Log: w.folder.log(), IP: status.PodIP,
	}
	for _, ip := range status.PodIPs {
		view.IPs = append(view.IPs, ip.IP)
	}
	if w.process != nil {
		view.PID = w.process.PID
	}
	if w.sandbox != nil {
		view.Netns, view.Veth = w.sandbox.Netns, podnet.VethName(w.record.UID)
	}
	w.mu.Lock()
	w.view = view
	w.mu.Unlock()
}

// shown returns the pod as the control socket lists it.
func (w *worker) shown() control.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.view
}

// onProcess lets run carry out something with the pod's running process.
func (w *worker) onProcess(act func() error) error {
	result := make(chan error, 1)
	posted := w.post(func() {
		if w.process == nil {
			result <- errors.New("the pod's process is not running")
			return
		}
		result <- act()
	})
	if !posted {
		return errors.New("the pod is gone")
	}
	return <-result
}

// setUnready makes the pod's server answer 503, or serve again. Containers without a probe follow at once.
func (w *worker) setUnready(ctx context.Context, on bool) error {
	return w.onProcess(func() error {
		err := control.Lablet{Path: w.folder.control()}.SetUnready(ctx, on)
		if err == nil {
			w.serving = !on
			w.publish(false)
		}
		return err
	})
}

// kill ends the pod's process as if it had crashed.
func (w *worker) kill() error {
	return w.onProcess(func() error { return w.process.Signal(syscall.SIGKILL) })
}

func (w *worker) save() {
	if err := w.folder.save(w.record); err != nil {
		slog.Error("the pod would not survive a restart of the agent", "pod", w.record.Name, "error", err)
	}
}
