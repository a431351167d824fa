package pods

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestPodServesAndIsDeletedGracefully(t *testing.T) {
	l := newLab(t)
	p := l.run("web", nil)
	if p.IP != "10.244.1.2" || l.get("web").Status.HostIP != "192.0.2.1" {
		t.Errorf("addresses: %+v, %+v", p, l.get("web").Status)
	}
	answer, err := http.Get("http://10.244.1.2/")
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("HTTP: %v, %v", answer, err)
	}
	second := l.run("second", nil)
	l.delete("web", 30)
	l.waitFor("deletion", l.gone("web"))
	if alive(p.PID) {
		t.Error("the process of a deleted pod is alive")
	}
	if third := l.run("third", nil); third.IP != "10.244.1.2" || second.IP != "10.244.1.3" {
		t.Errorf("addresses of the later pods: %s, %s", second.IP, third.IP)
	}
}

func TestPreStopSleepKeepsThePodServing(t *testing.T) {
	l := newLab(t)
	p := l.run("web", func(p *v1.Pod) {
		p.Spec.Containers[0].Lifecycle = &v1.Lifecycle{PreStop: &v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 1}}}
	})
	began := time.Now()
	l.delete("web", 30)
	l.waitFor("termination", func() bool { return l.listed("web").Terminating })
	if answer, err := http.Get("http://" + p.IP + "/"); err != nil || answer.StatusCode != http.StatusOK || !l.ready("web", true)() {
		t.Errorf("while terminating: %v, %v, ready %v", answer, err, l.ready("web", true)())
	}
	l.waitFor("deletion", l.gone("web"))
	if took := time.Since(began); took < time.Second || took > 5*time.Second {
		t.Errorf("gone after %s", took)
	}
}

func TestHangingPodIsKilledAfterItsGracePeriod(t *testing.T) {
	l := newLab(t)
	p := l.run("web", nil)
	if err := syscall.Kill(p.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	l.delete("web", 1)
	l.waitFor("deletion", l.gone("web"))
	if took := time.Since(began); took < minimumGracePeriod || alive(p.PID) {
		t.Errorf("gone after %s, process alive %v", took, alive(p.PID))
	}
}

func TestUnreadyWithoutAProbeIsSeenAtOnce(t *testing.T) {
	l := newLab(t)
	p := l.run("web", nil)
	for _, on := range []bool{true, false} {
		began := time.Now()
		if err := l.manager.SetUnready(t.Context(), "default/web", on); err != nil {
			t.Fatal(err)
		}
		l.waitFor("readiness", l.ready("web", !on))
		answer, err := http.Get("http://" + p.IP + "/")
		if took := time.Since(began); err != nil || (answer.StatusCode == http.StatusOK) == on || took > time.Second {
			t.Errorf("unready %v: %v, %v after %s", on, answer, err, took)
		}
	}
	if err := l.manager.SetUnready(t.Context(), "default/other", true); err == nil {
		t.Error("a pod that does not exist was made unready")
	}
}

func TestReadinessProbeDecides(t *testing.T) {
	l := newLab(t)
	l.run("web", func(p *v1.Pod) {
		p.Spec.Containers[0].ReadinessProbe = &v1.Probe{
			ProbeHandler:  v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Path: "/", Port: intstr.FromInt32(80)}},
			PeriodSeconds: 1, FailureThreshold: 2,
		}
	})
	began := time.Now()
	if err := l.manager.SetUnready(t.Context(), "default/web", true); err != nil {
		t.Fatal(err)
	}
	l.waitFor("the probe to fail", l.ready("web", false))
	if took := time.Since(began); took < time.Second || took > 4*time.Second {
		t.Errorf("not ready after %s; two probes a second apart must fail", took)
	}
	l.create("closed", func(p *v1.Pod) {
		p.Spec.Containers[0].ReadinessProbe = &v1.Probe{
			ProbeHandler: v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromInt32(81)}}, PeriodSeconds: 1,
		}
	})
	l.waitFor("a pod that runs but is not ready", l.ready("closed", false))
}

func TestKilledPodIsRestartedWithItsAddressAndThenBacksOff(t *testing.T) {
	l := newLab(t)
	first := l.run("web", nil)
	if err := l.manager.Kill("default/web"); err != nil {
		t.Fatal(err)
	}
	l.waitFor("the restart", func() bool { return l.listed("web").Restarts == 1 && l.ready("web", true)() })
	second := l.listed("web")
	if second.IP != first.IP || second.PID == first.PID {
		t.Errorf("first %+v, second %+v", first, second)
	}
	if err := l.manager.Kill("default/web"); err != nil {
		t.Fatal(err)
	}
	l.waitFor("back-off", func() bool {
		p := l.get("web")
		waiting := p.Status.ContainerStatuses[0].State.Waiting
		return waiting != nil && waiting.Reason == "CrashLoopBackOff"
	})
	if last := l.get("web").Status.ContainerStatuses[0].LastTerminationState.Terminated; last == nil || last.ExitCode != 137 {
		t.Errorf("last state %+v", last)
	}
	// The pod's network is still there: its port refuses at once.
	began := time.Now()
	if _, err := net.DialTimeout("tcp", first.IP+":80", 5*time.Second); err == nil || time.Since(began) > time.Second {
		t.Errorf("dial: %v after %s", err, time.Since(began))
	}
	if err := l.manager.Kill("default/web"); err == nil {
		t.Error("a process that is not there was killed")
	}
}

func TestPodThatNeverRestartsFails(t *testing.T) {
	l := newLab(t)
	l.run("web", func(p *v1.Pod) { p.Spec.RestartPolicy = v1.RestartPolicyNever })
	if err := l.manager.Kill("default/web"); err != nil {
		t.Fatal(err)
	}
	l.waitFor("failure", func() bool { p := l.get("web"); return p.Status.Phase == v1.PodFailed })
}

func TestPodsOutliveTheAgent(t *testing.T) {
	l := newLab(t)
	kept, crashed, deleted := l.run("kept", nil), l.run("crashed", nil), l.run("deleted", nil)
	l.stop()
	if !alive(kept.PID) {
		t.Fatal("the pod ended with its agent")
	}
	if err := syscall.Kill(crashed.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l.server.Remove(collection, "deleted")
	l.start()
	l.waitFor("adoption", func() bool { return l.listed("kept").PID == kept.PID })
	l.waitFor("the restart", func() bool { return l.listed("crashed").Restarts == 1 && l.ready("crashed", true)() })
	l.waitFor("the end of the deleted pod", func() bool { return !alive(deleted.PID) })
	if p := l.listed("crashed"); p.IP != crashed.IP {
		t.Errorf("address %s, was %s", p.IP, crashed.IP)
	}
	if err := l.manager.SetUnready(t.Context(), "default/kept", true); err != nil {
		t.Error(err)
	}
	l.waitFor("readiness of the adopted pod", l.ready("kept", false))
	l.delete("kept", 30)
	l.waitFor("deletion of the adopted pod", l.gone("kept"))
}

func TestReadinessTakenAwayByTheControllerIsTakenBack(t *testing.T) {
	l := newLab(t)
	l.run("web", nil)
	p := l.get("web")
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == v1.PodReady {
			p.Status.Conditions[i].Status = v1.ConditionFalse
		}
	}
	l.server.Put(collection, p)
	l.waitFor("readiness", l.ready("web", true))
}

func TestPodsGoOnWhileTheAPIServerIsAway(t *testing.T) {
	l := newLab(t)
	first := l.run("web", nil)
	l.server.Stop()
	if err := l.manager.Kill("default/web"); err != nil {
		t.Fatal(err)
	}
	l.waitFor("the restart", func() bool { p := l.listed("web"); return p.Restarts == 1 && p.Serving })
	l.server.Start()
	l.waitFor("the status to catch up", func() bool {
		statuses := l.get("web").Status.ContainerStatuses
		return statuses[0].RestartCount == 1 && statuses[0].Ready
	})
	if p := l.listed("web"); p.IP != first.IP {
		t.Errorf("address %s, was %s", p.IP, first.IP)
	}
}

func TestHostNetworkPodHasTheNodesAddress(t *testing.T) {
	l := newLab(t)
	p := l.run("web", func(p *v1.Pod) {
		p.Spec.HostNetwork = true
		p.Spec.Containers[0].Ports = []v1.ContainerPort{{ContainerPort: 8088}}
	})
	if p.IP != "192.0.2.1" || p.Netns != "" {
		t.Errorf("pod %+v", p)
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", p.PID)); err != nil || theirs != own {
		t.Errorf("network namespace %s, %v; the node's is %s", theirs, err, own)
	}
}
