// Command kube is the Kubernetes control plane of an lblab cluster as one program:
//
//	kube etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kube-proxy [options of that program]
//
// The programs are upstream's own, unchanged. They share most of their packages, so that one program takes a fraction of
// the time to link, of the disk and, while several of them run, of the page cache that five programs would take.
package main

import (
	"fmt"
	"os"
	"sort"
	"strings"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// walSegmentBytes is the size of etcd's preallocated write-ahead log files. etcd's default of 64 MB per file is meant
// for months of writes; a lab copies the folder at every start and lives for minutes.
const walSegmentBytes = 1 << 20

// applets maps the name of a program to the function that runs it and gives its exit status.
var applets = map[string]func(args []string) int{
	"etcd":                    runEtcd,
	"kube-apiserver":          func([]string) int { return cli.Run(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func([]string) int { return cli.Run(controllermanager.NewControllerManagerCommand()) },
	"kube-scheduler":          func([]string) int { return cli.Run(scheduler.NewSchedulerCommand()) },
	"kube-proxy":              func([]string) int { return cli.Run(proxy.NewProxyCommand()) },
}

func runEtcd(args []string) int {
	wal.SegmentSizeBytes = walSegmentBytes
	etcdmain.Main(args)
	return 0
}

func main() {
	if len(os.Args) > 1 {
		if run, ok := applets[os.Args[1]]; ok {
			os.Args = os.Args[1:] // the programs read their options from os.Args
			os.Exit(run(os.Args))
		}
	}
	names := make([]string, 0, len(applets))
	for name := range applets {
		names = append(names, name)
	}
	sort.Strings(names)
	fmt.Fprintf(os.Stderr, "usage: kube %s [options]\n", strings.Join(names, "|"))
	os.Exit(64)
}
