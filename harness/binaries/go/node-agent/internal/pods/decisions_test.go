package pods

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pod makes a pod with one container, "web", changed as wanted.
func pod(change func(*v1.Pod)) *v1.Pod {
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "11111111-1111-1111-1111-111111111111"},
		Spec: v1.PodSpec{
			NodeName: "worker1", RestartPolicy: v1.RestartPolicyAlways,
			Containers: []v1.Container{{Name: "web", Image: "nginx:1.27"}},
		},
	}
	if change != nil {
		change(p)
	}
	return p
}

func TestListenPorts(t *testing.T) {
	if ports := listenPorts(pod(nil)); !slices.Equal(ports, []string{"tcp/80"}) {
		t.Errorf("without a port: %v", ports)
	}
	several := pod(func(p *v1.Pod) {
		p.Spec.Containers[0].Ports = []v1.ContainerPort{
			{ContainerPort: 8080}, {ContainerPort: 53, Protocol: v1.ProtocolUDP}, {ContainerPort: 9, Protocol: v1.ProtocolSCTP},
		}
		p.Spec.Containers = append(p.Spec.Containers, v1.Container{Ports: []v1.ContainerPort{
			{ContainerPort: 53, Protocol: v1.ProtocolTCP}, {ContainerPort: 53, Protocol: v1.ProtocolUDP},
		}})
	})
	if ports := listenPorts(several); !slices.Equal(ports, []string{"tcp/8080", "udp/53", "tcp/53"}) {
		t.Errorf("several: %v", ports)
	}
}

func TestUnsupportedNamesEverythingLeftOut(t *testing.T) {
	plain := pod(func(p *v1.Pod) {
		p.Spec.Volumes = []v1.Volume{{Name: "kube-api-access-x7x2p"}}
		p.Spec.Containers[0].ReadinessProbe = &v1.Probe{ProbeHandler: v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{}}}
		p.Spec.Containers[0].Lifecycle = &v1.Lifecycle{PreStop: &v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 1}}}
	})
	if missing := unsupported(plain); len(missing) > 0 {
		t.Errorf("a pod that is wholly supported: %v", missing)
	}
	full := pod(func(p *v1.Pod) {
		p.Spec.InitContainers = []v1.Container{{Name: "setup"}}
		p.Spec.Volumes = []v1.Volume{{Name: "html"}}
		p.Spec.HostPID = true
		c := &p.Spec.Containers[0]
		c.Command, c.Env = []string{"nginx"}, []v1.EnvVar{{Name: "A"}}
		c.LivenessProbe, c.StartupProbe = &v1.Probe{}, &v1.Probe{}
		c.ReadinessProbe = &v1.Probe{ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{}}}
		c.Lifecycle = &v1.Lifecycle{PostStart: &v1.LifecycleHandler{}, PreStop: &v1.LifecycleHandler{Exec: &v1.ExecAction{}}}
		c.Ports = []v1.ContainerPort{{ContainerPort: 80, HostPort: 8080}, {ContainerPort: 9, Protocol: v1.ProtocolSCTP}}
	})
	text := strings.Join(unsupported(full), "; ")
	for _, word := range []string{
		"init container setup", "volume html", "hostPID", "command", "environment", "livenessProbe", "startupProbe",
		"neither httpGet", "postStart", "preStop", "hostPort 8080", "SCTP port 9",
	} {
		if !strings.Contains(text, word) {
			t.Errorf("%q is not named in: %s", word, text)
		}
	}
}

func TestBackOffIsTheKubelets(t *testing.T) {
	var b backOff
	now := time.Unix(1000, 0)
	// A container that crashes at once, each time: restarted after 0, 10, 20, 40, ... 300, 300 s.
	for _, seconds := range []int{0, 10, 20, 40, 80, 160, 300, 300} {
		wait := b.wait(now)
		if wait != time.Duration(seconds)*time.Second {
			t.Fatalf("waits %s, want %d s", wait, seconds)
		}
		b = b.restarted(now, now.Add(wait))
		now = now.Add(wait)
	}
	if wait := b.wait(now.Add(2 * maxBackOff)); wait != maxBackOff {
		t.Errorf("after a run of just 600 s: %s", wait)
	}
	late := now.Add(2*maxBackOff + time.Second)
	if wait := b.wait(late); wait != 0 {
		t.Errorf("after a longer run: %s", wait)
	}
	if b = b.restarted(late, late); b.Delay != firstBackOff {
		t.Errorf("then starts afresh with %s", b.Delay)
	}
}

func TestRestartPolicy(t *testing.T) {
	for _, c := range []struct {
		policy v1.RestartPolicy
		code   int
		want   bool
	}{
		{v1.RestartPolicyAlways, 0, true}, {v1.RestartPolicyAlways, 137, true}, {v1.RestartPolicyOnFailure, 0, false},
		{v1.RestartPolicyOnFailure, 1, true}, {v1.RestartPolicyNever, 1, false},
	} {
		if restarts(c.policy, c.code) != c.want {
			t.Errorf("%s, exit code %d: %v", c.policy, c.code, !c.want)
		}
	}
}

func TestGracePeriodAndPreStopSleep(t *testing.T) {
	spec, deletion := int64(30), int64(5)
	p := pod(func(p *v1.Pod) { p.Spec.TerminationGracePeriodSeconds = &spec })
	if gracePeriod(p) != 30*time.Second || preStopSleep(p) != 0 {
		t.Errorf("grace %s, sleep %s", gracePeriod(p), preStopSleep(p))
	}
	p.Spec.Containers[0].Lifecycle = &v1.Lifecycle{PreStop: &v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 10}}}
	if preStopSleep(p) != 10*time.Second {
		t.Errorf("sleep %s", preStopSleep(p))
	}
	p.DeletionGracePeriodSeconds = &deletion
	if gracePeriod(p) != 5*time.Second || preStopSleep(p) != 5*time.Second {
		t.Errorf("deleted with 5 s: grace %s, sleep %s", gracePeriod(p), preStopSleep(p))
	}
}

var running = observed{
	Addresses:     []netip.Addr{netip.MustParseAddr("10.244.1.2"), netip.MustParseAddr("fd00:1::2")},
	HostAddresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
	PodStarted:    time.Unix(1000, 0), Started: time.Unix(1001, 0), Running: true, Ready: map[string]bool{"web": true},
}

func TestStatusOfARunningPod(t *testing.T) {
	status := podStatus(pod(nil), running, nil, time.Unix(1002, 0))
	container := status.ContainerStatuses[0]
	if status.Phase != v1.PodRunning || status.PodIP != "10.244.1.2" || len(status.PodIPs) != 2 || status.HostIP != "192.0.2.1" {
		t.Errorf("status %+v", status)
	}
	if !container.Ready || container.State.Running == nil || !*container.Started || !isTrue(status.Conditions, v1.PodReady) {
		t.Errorf("container %+v", container)
	}
	if container.Image != "lblab/lablet (in place of nginx:1.27)" {
		t.Errorf("image %q hides that it was replaced", container.Image)
	}
}

func TestReadyNeedsEveryContainerAndGate(t *testing.T) {
	p := pod(func(p *v1.Pod) {
		p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: "side"})
		p.Spec.ReadinessGates = []v1.PodReadinessGate{{ConditionType: "example.com/gate"}}
	})
	o := running
	check := func(containers, ready bool) {
		t.Helper()
		conditions := podStatus(p, o, nil, time.Unix(0, 0)).Conditions
		if isTrue(conditions, v1.ContainersReady) != containers || isTrue(conditions, v1.PodReady) != ready {
			t.Errorf("conditions %+v", conditions)
		}
	}
	check(false, false)
	o.Ready = map[string]bool{"web": true, "side": true}
	check(true, false)
	p.Status.Conditions = []v1.PodCondition{{Type: "example.com/gate", Status: v1.ConditionTrue}}
	check(true, true)
	o.Running = false
	check(false, false)
}

func TestStatusThroughACrash(t *testing.T) {
	o := running
	o.Running, o.Ready = false, nil
	o.Last = &lastRun{Code: 137, Known: true, Started: time.Unix(1001, 0), Finished: time.Unix(1005, 0)}
	o.Waiting, o.Message, o.Restarts = "CrashLoopBackOff", "back-off 10s", 1
	status := podStatus(pod(nil), o, nil, time.Unix(1005, 0))
	container := status.ContainerStatuses[0]
	if status.Phase != v1.PodRunning || container.State.Waiting.Reason != "CrashLoopBackOff" || container.LastTerminationState.Terminated.ExitCode != 137 {
		t.Errorf("waiting: %s, %+v", status.Phase, container)
	}
	o.Waiting, o.Finished, o.Restarts = "", true, 0
	status = podStatus(pod(nil), o, nil, time.Unix(1005, 0))
	if ended := status.ContainerStatuses[0].State.Terminated; status.Phase != v1.PodFailed || ended == nil || ended.Reason != "Error" {
		t.Errorf("failed: %s, %+v", status.Phase, status.ContainerStatuses[0])
	}
	o.Last = &lastRun{Code: 0, Known: true}
	if status = podStatus(pod(nil), o, nil, time.Unix(1005, 0)); status.Phase != v1.PodSucceeded {
		t.Errorf("exit code 0: %s", status.Phase)
	}
	if status = podStatus(pod(nil), observed{}, nil, time.Unix(1000, 0)); status.Phase != v1.PodPending {
		t.Errorf("not started: %s", status.Phase)
	}
}

func TestTransitionTimesOfConditions(t *testing.T) {
	first := podStatus(pod(nil), running, nil, time.Unix(1002, 0))
	o := running
	o.Ready = nil
	for _, condition := range podStatus(pod(nil), o, first.Conditions, time.Unix(2000, 0)).Conditions {
		wanted := time.Unix(1002, 0)
		if condition.Type == v1.PodReady || condition.Type == v1.ContainersReady {
			wanted = time.Unix(2000, 0)
		}
		if !condition.LastTransitionTime.Time.Equal(wanted) {
			t.Errorf("%s changed at %s", condition.Type, condition.LastTransitionTime)
		}
	}
}

func TestContradictsWhenTheControllerMarkedThePodNotReady(t *testing.T) {
	own := podStatus(pod(nil), running, nil, time.Unix(1002, 0))
	shown := *own.DeepCopy()
	shown.Conditions = append(shown.Conditions, v1.PodCondition{Type: "example.com/gate", Status: v1.ConditionFalse})
	if contradicts(shown, own) {
		t.Error("a condition of someone else contradicts")
	}
	for i := range shown.Conditions {
		if shown.Conditions[i].Type == v1.PodReady {
			shown.Conditions[i].Status = v1.ConditionFalse
		}
	}
	if !contradicts(shown, own) {
		t.Error("Ready=False does not contradict")
	}
}
