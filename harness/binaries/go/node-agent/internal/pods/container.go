package pods

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"

	"lblab/node-agent/internal/control"
	"lblab/node-agent/internal/podnet"
	"lblab/node-agent/internal/proc"
)

// begin brings a pod up: adopts its process if there is one, else starts it.
func (w *worker) begin(ctx context.Context) {
	pod, _ := w.latest()
	if finished(pod) {
		w.finished = true
		return
	}
	if w.adoptProcess(ctx) {
		slog.Info("pod adopted", "pod", pod.Namespace+"/"+pod.Name, "pid", w.process.PID)
		return
	}
	if w.record.PID != 0 { // it ran under an earlier agent and has ended since
		w.ended(ctx, proc.Exit{Code: proc.UnknownExitCode, Time: time.Now()})
		return
	}
	w.announce(pod)
	w.start(ctx)
}

// announce tells with Events what of the pod is not as in a real cluster.
func (w *worker) announce(pod *v1.Pod) {
	w.events.Pod(pod, v1.EventTypeNormal, "Replaced", "lblab's server on %s runs in place of %s",
		strings.Join(listenPorts(pod), ", "), replaced(pod))
	if missing := unsupported(pod); len(missing) > 0 {
		w.events.Pod(pod, v1.EventTypeWarning, "NotSupported", "lblab leaves out: %s", strings.Join(missing, "; "))
	}
	if isJobs(pod) {
		w.events.Pod(pod, v1.EventTypeWarning, "NeverCompletes", "lblab's server never completes, so this Job will not")
	}
}

// adoptProcess takes over the process of an earlier agent, if it and its network are still there.
func (w *worker) adoptProcess(ctx context.Context) bool {
	if w.record.PID == 0 {
		return false
	}
	process, err := proc.Adopt(w.record.PID, w.record.StartTicks)
	if err != nil {
		return false
	}
	w.process = process
	if !w.record.HostNetwork {
		w.sandbox = w.describeSandbox()
		whole, err := w.sandbox.Adopt(process.PID)
		if err != nil {
			slog.Error("pod cannot be adopted", "pod", w.record.Name, "error", err)
		}
		if !whole { // the node's namespace was made anew, say: as after a reboot, the pod starts afresh
			_ = process.Signal(syscall.SIGKILL)
			<-process.Done
			w.process = nil
			return false
		}
	}
	pod, _ := w.latest()
	w.watch(ctx, pod, isTrue(pod.Status.Conditions, v1.ContainersReady))
	return true
}

func (w *worker) describeSandbox() *podnet.Sandbox {
	return podnet.NewSandbox(w.folder.netns(), w.record.UID, w.record.Addresses, w.PodCIDRs)
}

// start makes the pod's network if it has none and starts its process.
func (w *worker) start(ctx context.Context) {
	began := time.Now()
	pod, _ := w.latest()
	process, err := w.launch(ctx, pod)
	if err != nil {
		w.events.Pod(pod, v1.EventTypeWarning, "Failed", "the pod's server could not be started: %v", err)
		w.waiting, w.message = "CreateContainerError", err.Error()
		w.record.BackOff = w.record.BackOff.restarted(began, began)
		w.restart = time.NewTimer(w.record.BackOff.Delay)
		w.publish(false)
		return
	}
	w.process, w.waiting, w.message = process, "", ""
	w.record.PID, w.record.StartTicks, w.record.Started = process.PID, process.StartTicks, time.Now()
	w.save()
	w.watch(ctx, pod, false)
	slog.Info("pod started", "pod", pod.Namespace+"/"+pod.Name, "pid", process.PID, "addresses", w.record.Addresses,
		"took", time.Since(began))
}

func (w *worker) launch(ctx context.Context, pod *v1.Pod) (*proc.Process, error) {
	if err := os.MkdirAll(string(w.folder), 0o755); err != nil {
		return nil, err
	}
	netns, addresses := "", w.HostAddresses
	if !w.record.HostNetwork {
		if err := w.ensureSandbox(); err != nil {
			return nil, err
		}
		netns, addresses = w.sandbox.Netns, w.record.Addresses
	}
	control.Lablet{Path: w.folder.control()}.Stop(ctx)
	argv := []string{
		w.Lablet, "serve", "--node", w.Node, "--pod", pod.Namespace + "/" + pod.Name, "--pod-ip", join(addresses),
		"--control", w.folder.control(),
	}
	for _, port := range listenPorts(pod) {
		argv = append(argv, "--listen", port)
	}
	var process *proc.Process
	err := podnet.Inside(netns, func() (err error) {
		process, err = proc.Start(w.folder.log(), argv...)
		return err
	})
	return process, err
}

// ensureSandbox makes the pod's network unless it is there: it outlives the pod's process, as a pod's sandbox does.
func (w *worker) ensureSandbox() error {
	if len(w.record.Addresses) == 0 {
		addresses, err := w.addresses.Allocate()
		if err != nil {
			return err
		}
		w.record.Addresses = addresses
		w.save() // before the network is made: whoever comes after a crash knows whose the address is
	}
	w.sandbox = w.describeSandbox()
	if w.sandbox.Exists() {
		return nil
	}
	return w.inNetwork(w.sandbox.Create)
}

func join(addresses []netip.Addr) string {
	texts := make([]string, 0, len(addresses))
	for _, address := range addresses {
		texts = append(texts, address.String())
	}
	return strings.Join(texts, ",")
}

// ended handles the end of the pod's process: it is started again as the pod's restartPolicy and the kubelet's
// back-off say. The kubelet would notice up to a second later (genericPlegRelistPeriod, pkg/kubelet/kubelet.go).
func (w *worker) ended(ctx context.Context, exit proc.Exit) {
	pod, gone := w.latest()
	w.stopProbes()
	w.process, w.serving, w.probed = nil, false, nil
	w.record.PID, w.record.StartTicks = 0, 0
	w.record.Last = &lastRun{Code: exit.Code, Known: exit.Known, Started: w.record.Started, Finished: exit.Time}
	slog.Info("pod's process ended", "pod", pod.Namespace+"/"+pod.Name, "how", exit)
	if gone || pod.DeletionTimestamp != nil || !restarts(pod.Spec.RestartPolicy, exit.Code) {
		w.finished = true
		w.save()
		w.publish(false)
		return
	}
	delay := w.record.BackOff.wait(exit.Time)
	if delay > 0 {
		w.waiting = "CrashLoopBackOff"
		w.message = fmt.Sprintf("back-off %s restarting failed containers of pod %s", delay, pod.Name)
		w.events.Pod(pod, v1.EventTypeWarning, "BackOff", "Back-off restarting failed containers of pod %s", pod.Name)
	}
	w.publish(false)
	w.record.Restarts++
	w.record.BackOff = w.record.BackOff.restarted(exit.Time, exit.Time.Add(delay))
	w.save()
	w.restart = time.NewTimer(delay)
}
