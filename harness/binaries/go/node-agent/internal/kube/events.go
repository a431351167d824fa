package kube

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Component names the agent as the source of its Events.
const Component = "lblab-node-agent"

// Recorder writes Events, in the background and in order, so that no pod waits for one.
type Recorder struct {
	client *Client
	node   string
	queue  chan *v1.Event
}

// NewRecorder makes a recorder; Run must run for the Events to be sent.
func NewRecorder(client *Client, node string) *Recorder {
	const pending = 256 // Events that may wait while the API server is away
	return &Recorder{client: client, node: node, queue: make(chan *v1.Event, pending)}
}

// Pod records an Event of kind v1.EventTypeNormal or v1.EventTypeWarning about a pod, and logs it.
func (r *Recorder) Pod(pod *v1.Pod, kind, reason, format string, args ...any) {
	now := time.Now()
	message := fmt.Sprintf(format, args...)
	slog.Info("event", "pod", pod.Namespace+"/"+pod.Name, "reason", reason, "message", message)
	event := &v1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: fmt.Sprintf("%s.%x", pod.Name, now.UnixNano())},
		InvolvedObject: v1.ObjectReference{
			APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
		},
		Type: kind, Reason: reason, Message: message, Count: 1,
		FirstTimestamp: metav1.NewTime(now), LastTimestamp: metav1.NewTime(now),
		Source:              v1.EventSource{Component: Component, Host: r.node},
		ReportingController: Component, ReportingInstance: r.node,
	}
	select {
	case r.queue <- event:
	default:
		slog.Warn("event dropped: too many wait for the API server", "reason", reason)
	}
}

// Run sends the recorded Events until ctx ends.
func (r *Recorder) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-r.queue:
			r.send(ctx, event)
		}
	}
}

// send writes one Event; one that the API server refuses (its namespace is being deleted) is only logged.
func (r *Recorder) send(ctx context.Context, event *v1.Event) {
	path := "/api/v1/namespaces/" + event.Namespace + "/events"
	_ = Insist(ctx, "record an event", func(ctx context.Context) error {
		err := r.client.Create(ctx, path, event, nil)
		if IsRefused(err) {
			slog.Warn("event refused", "reason", event.Reason, "error", err)
			return nil
		}
		return err
	})
}
