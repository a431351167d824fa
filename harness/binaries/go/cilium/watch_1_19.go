//go:build cilium1.19

package main

import (
	"github.com/cilium/hive/cell"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/cilium/cilium/pkg/k8s/client"
	"github.com/cilium/cilium/pkg/k8s/resource"
)

// watch gives a constructor of the stream of changes to one kind of object.
func watch[T runtime.Object](source func(client.Clientset) cache.ListerWatcher) any {
	return func(lc cell.Lifecycle, cs client.Clientset, mp workqueue.MetricsProvider) resource.Resource[T] {
		return resource.New[T](lc, source(cs), mp)
	}
}
