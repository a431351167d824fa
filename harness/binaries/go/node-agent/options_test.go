package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func arguments(more ...string) []string {
	return append([]string{
		"--kubeconfig", "k", "--node", "worker1", "--addresses", "192.0.2.1,2001:db8::1", "--pod-cidrs", "10.244.1.0/24,fd00:1::/64",
		"--lablet", "bin/lablet", "--run-dir", "/run/x",
	}, more...)
}

func TestOptionsOfADualStackNode(t *testing.T) {
	o, err := parseOptions(arguments("--labels", "io.cilium/bgp=worker,empty=", "--cilium-node", "--lease-duration", "8s"))
	if err != nil {
		t.Fatal(err)
	}
	if len(o.node.Addresses) != 2 || o.node.Addresses[1].String() != "2001:db8::1" || len(o.node.PodCIDRs) != 2 {
		t.Errorf("addresses %v, pod CIDRs %v", o.node.Addresses, o.node.PodCIDRs)
	}
	if value, found := o.node.Labels["empty"]; !found || value != "" || o.node.Labels["io.cilium/bgp"] != "worker" {
		t.Errorf("labels %v", o.node.Labels)
	}
	if !o.ciliumNode || o.node.RenewInterval() != 2*time.Second {
		t.Errorf("cilium-node %v, renewed every %s", o.ciliumNode, o.node.RenewInterval())
	}
	if !strings.HasPrefix(o.lablet, "/") {
		t.Errorf("lablet %q is not absolute, but the agent may run anywhere", o.lablet)
	}
}

func TestBadOptionsAreNamed(t *testing.T) {
	long := "/" + strings.Repeat("x", 80)
	for option, value := range map[string]string{
		"--addresses": "192.0.2.300", "--pod-cidrs": "10.244.1.7/24", "--labels": "novalue", "--lease-duration": "1500ms",
		"--run-dir": long, "--node": "",
	} {
		_, err := parseOptions(arguments(option, value))
		if err == nil || !strings.Contains(err.Error(), option) {
			t.Errorf("%s %q: error %v does not name the option", option, value, err)
		}
	}
	if _, err := parseOptions(arguments("--pod-cidrs", "10.244.1.0/24,10.244.2.0/24")); err == nil {
		t.Error("two pod CIDRs of one family were accepted")
	}
	if _, err := parseOptions(slices.Concat(arguments(), []string{"stray"})); err == nil {
		t.Error("a stray argument was accepted")
	}
}
