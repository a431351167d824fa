package pods

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"lblab/node-agent/internal/kube"
)

// terminate ends the pod as the kubelet does: preStop sleep, SIGTERM, SIGKILL when the grace period is over, network
// gone, final status, object deleted. Until its process ends the pod stays as ready as it is: that it terminates is
// told by its deletionTimestamp alone, which is what EndpointSlices and kube-proxy go by (SyncTerminatingPod in
// pkg/kubelet/kubelet.go goes on probing readiness).
func (w *worker) terminate(ctx context.Context) {
	began := time.Now()
	pod, _ := w.latest()
	name := pod.Namespace + "/" + pod.Name
	slog.Info("pod terminates", "pod", name, "grace", gracePeriod(pod), "preStop", preStopSleep(pod))
	w.restart = nil
	w.publish(false)
	sleep := preStopSleep(pod)
	if !w.until(ctx, func() time.Time { return began.Add(min(sleep, w.grace())) }) {
		return
	}
	w.signal(syscall.SIGTERM)
	asked := time.Now()
	kill := func() time.Time { return latest(began.Add(w.grace()), asked.Add(minimumGracePeriod)) }
	if !w.until(ctx, kill) {
		return
	}
	for w.process != nil {
		slog.Warn("pod's process outlived its grace period: SIGKILL", "pod", name)
		w.signal(syscall.SIGKILL)
		if !w.until(ctx, func() time.Time { return time.Now().Add(time.Second) }) {
			return
		}
	}
	if err := w.cleanUp(); err != nil {
		slog.Error("what is left of the pod stays", "pod", name, "error", err)
	}
	slog.Info("pod ended", "pod", name, "took", time.Since(began))
	w.finalise(ctx)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// grace is the grace period as the API server has it now: a second deletion may have made it shorter.
func (w *worker) grace() time.Duration {
	pod, _ := w.latest()
	return gracePeriod(pod)
}

// until handles what happens to the pod until its process has ended or the deadline, which may move, is reached. It
// returns false when the agent ends.
func (w *worker) until(ctx context.Context, deadline func() time.Time) bool {
	end := deadline()
	for w.process != nil && time.Now().Before(end) {
		timer := time.NewTimer(time.Until(end))
		going := w.step(ctx, timer.C)
		timer.Stop()
		if !going {
			return false
		}
		if moved := deadline(); moved.Before(end) {
			end = moved
		}
	}
	return true
}

func (w *worker) signal(signal syscall.Signal) {
	if w.process == nil {
		return
	}
	if err := w.process.Signal(signal); err != nil {
		slog.Error("signal", "pod", w.record.Name, "signal", signal, "error", err)
	}
}

// cleanUp takes away the pod's network and folder and gives its addresses back.
func (w *worker) cleanUp() error {
	err := w.inNetwork(w.describeSandbox().Remove)
	w.addresses.Release(w.record.Addresses)
	return errors.Join(err, os.RemoveAll(string(w.folder)))
}

// finalise sends the last status and deletes the object, and returns when it is gone. A new pod of the same name is
// protected by the uid.
func (w *worker) finalise(ctx context.Context) {
	w.finished = true
	w.publish(false)
	pod, gone := w.latest()
	if gone {
		return
	}
	now, uid := int64(0), types.UID(w.record.UID)
	err := kube.Insist(ctx, "delete the pod "+w.record.Name, func(ctx context.Context) error {
		if _, gone := w.latest(); gone {
			return nil
		}
		if err := w.publisher.send(ctx); err != nil {
			return err
		}
		err := w.client.Delete(ctx, podPath(pod), metav1.DeleteOptions{
			GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &uid},
		})
		if kube.IsRefused(err) { // gone, or another pod has its name by now
			return nil
		}
		return err
	})
	for err == nil {
		if _, gone := w.latest(); gone || !w.step(ctx, nil) {
			return
		}
	}
}
