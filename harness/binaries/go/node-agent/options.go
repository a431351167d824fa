package main

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"lblab/node-agent/internal/node"
	"lblab/node-agent/internal/pods"
)

// options are the command line's.
type options struct {
	kubeconfig string
	lablet     string
	runDir     string
	ciliumNode bool
	node       node.Config
}

// parseOptions reads the command line; its errors are one sentence each.
func parseOptions(arguments []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("node-agent", flag.ContinueOnError)
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "`file` that says how to reach the API server")
	flags.StringVar(&o.node.Name, "node", "", "`name` of this node")
	addresses := flags.String("addresses", "", "the node's InternalIP `addresses`, separated by commas, the primary one first")
	cidrs := flags.String("pod-cidrs", "", "the node's pod `CIDRs`, separated by commas, at most one of each family")
	labels := flags.String("labels", "", "labels of the Node object, `key=value,...`")
	flags.StringVar(&o.lablet, "lablet", "", "`path` of the lablet program, which runs in place of every container")
	flags.StringVar(&o.runDir, "run-dir", "", "`folder` of this node for sockets, logs and what must survive a restart")
	flags.BoolVar(&o.ciliumNode, "cilium-node", false, "keep this node's CiliumNode object, as the Cilium agent does")
	flags.DurationVar(&o.node.LeaseDuration, "lease-duration", node.DefaultLeaseDuration, "`duration` of the node Lease, whole seconds; it is renewed at a quarter of it")
	if err := flags.Parse(arguments); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	for _, needed := range []string{"kubeconfig", "node", "addresses", "pod-cidrs", "lablet", "run-dir"} {
		if flags.Lookup(needed).Value.String() == "" {
			return o, fmt.Errorf("--%s is needed", needed)
		}
	}
	var err error
	if o.node.Addresses, err = parseList(*addresses, netip.ParseAddr); err != nil {
		return o, fmt.Errorf("--addresses: %w", err)
	}
	if o.node.PodCIDRs, err = parseList(*cidrs, netip.ParsePrefix); err != nil {
		return o, fmt.Errorf("--pod-cidrs: %w", err)
	}
	if o.node.Labels, err = parseLabels(*labels); err != nil {
		return o, fmt.Errorf("--labels: %w", err)
	}
	return o, o.check()
}

func (o *options) check() error {
	if o.node.LeaseDuration < time.Second || o.node.LeaseDuration%time.Second != 0 {
		return errors.New("--lease-duration: whole seconds, at least one")
	}
	families := map[bool]bool{}
	for i, cidr := range o.node.PodCIDRs {
		if cidr != cidr.Masked() {
			return fmt.Errorf("--pod-cidrs: %s has host bits set; %s is meant?", cidr, cidr.Masked())
		}
		if cidr.Addr().BitLen()-cidr.Bits() < 2 {
			return fmt.Errorf("--pod-cidrs: %s has no room for pods", cidr)
		}
		if is6 := cidr.Addr().Is6(); families[is6] {
			return fmt.Errorf("--pod-cidrs: %s is the second one of its family", o.node.PodCIDRs[i])
		}
		families[cidr.Addr().Is6()] = true
	}
	var err error
	if o.runDir, err = filepath.Abs(o.runDir); err != nil {
		return err
	}
	if len(o.runDir) > pods.MaxRunDir {
		return fmt.Errorf("--run-dir: %s is longer than %d characters, too long for the UNIX sockets in it", o.runDir, pods.MaxRunDir)
	}
	o.lablet, err = filepath.Abs(o.lablet)
	return err
}

func parseList[T any](text string, parse func(string) (T, error)) ([]T, error) {
	var values []T
	for _, part := range strings.Split(text, ",") {
		value, err := parse(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}

func parseLabels(text string) (map[string]string, error) {
	labels := map[string]string{}
	if text == "" {
		return labels, nil
	}
	for _, part := range strings.Split(text, ",") {
		key, value, found := strings.Cut(strings.TrimSpace(part), "=")
		if !found || key == "" {
			return nil, fmt.Errorf("%q is not key=value", part)
		}
		labels[key] = value
	}
	return labels, nil
}
