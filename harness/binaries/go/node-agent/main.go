// Command node-agent stands in place of the kubelet on one node of lblab's embedded lab: it registers the node, keeps
// its heartbeats and, on request, its CiliumNode object, and runs lblab's server for every pod bound to the node.
//
// It runs in the node's network namespace with CAP_SYS_ADMIN and CAP_NET_ADMIN there. Pods outlive it, as they
// outlive the kubelet; the next agent with the same run folder takes them over.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"

	v1 "k8s.io/api/core/v1"

	"lblab/node-agent/internal/ciliumnode"
	"lblab/node-agent/internal/control"
	"lblab/node-agent/internal/kube"
	"lblab/node-agent/internal/node"
	"lblab/node-agent/internal/podnet"
	"lblab/node-agent/internal/pods"
)

func main() {
	o, err := parseOptions(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "node-agent:", err)
		os.Exit(2)
	}
	setUpLog()
	// A lab has many agents and each has little to do: memory is worth more than the collector's time.
	debug.SetGCPercent(40)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "node-agent:", err)
		os.Exit(1)
	}
}

// run is the agent's life; it returns nil when ctx ends.
func run(ctx context.Context, o options) error {
	unlock, err := lock(o.runDir)
	if err != nil {
		return err
	}
	defer unlock()
	client, err := kube.New(o.kubeconfig)
	if err != nil {
		return err
	}
	if err := podnet.PrepareNode(o.node.PodCIDRs); err != nil {
		return err
	}
	events := kube.NewRecorder(client, o.node.Name)
	manager, err := pods.NewManager(client, events, pods.Config{
		Node: o.node.Name, HostAddresses: o.node.Addresses, PodCIDRs: o.node.PodCIDRs, Lablet: o.lablet, RunDir: o.runDir,
	})
	if err != nil {
		return err
	}
	listener, err := control.Listen(filepath.Join(o.runDir, "node-agent.sock"))
	if err != nil {
		return err
	}

	var tasks sync.WaitGroup
	changed := func(*v1.Node) {}
	if o.ciliumNode {
		syncer := ciliumnode.NewSyncer(client)
		changed = syncer.Observe
		tasks.Go(func() { syncer.Run(ctx) })
	}
	tasks.Go(func() { node.NewKeeper(client, o.node, o.runDir, changed).Run(ctx) })
	tasks.Go(func() { events.Run(ctx) })
	tasks.Go(func() { manager.Run(ctx) })
	tasks.Go(func() {
		if err := control.Serve(ctx, listener, manager); err != nil {
			slog.Error("control socket", "error", err)
		}
	})
	slog.Info("node agent runs", "node", o.node.Name, "pid", os.Getpid())
	tasks.Wait()
	slog.Info("node agent ends; its pods go on")
	return nil
}

// lock makes the run folder and keeps a second agent out of it; the kernel lets go when the process ends.
func lock(folder string) (unlock func(), err error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("another node agent runs in %s", folder)
	}
	return func() { file.Close() }, nil
}
