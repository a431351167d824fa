package podnet

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// The process's first thread is the one thread that the runtime never ends, and the one that /proc/PID/ns/net shows.
// Held by the main goroutine, it stays in the node's namespace.
func init() { runtime.LockOSThread() }

// inThread runs work in an operating system thread of its own that ends with it, so that work may move the thread
// to another network namespace without ever moving it back.
func inThread(work func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
		done <- work()
	}()
	return <-done
}

// Inside runs work in a thread inside the network namespace of the given file; processes that work starts are in
// that namespace. An empty path is the namespace of the agent.
func Inside(netns string, work func() error) error {
	if netns == "" {
		return work()
	}
	return inThread(func() error {
		file, err := os.Open(netns)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", netns, err)
		}
		return work()
	})
}

// createNetns makes a network namespace and holds it at path; prepare runs inside it.
func createNetns(path string, prepare func() error) error {
	return inThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		if err := holdNetns(path, "/proc/thread-self/ns/net"); err != nil {
			return err
		}
		return prepare()
	})
}

// holdNetns holds a network namespace by a bind mount at path as ip-netns(8) does, so that it outlives the processes
// in it: a pod keeps its addresses, and refuses connections at once, while its container is restarted.
func holdNetns(path, netns string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return err
	}
	file.Close()
	if err := unix.Mount(netns, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("hold the network namespace at %s: %w", path, err)
	}
	return nil
}

// removeNetns lets go of a namespace made by createNetns; one that is not there is fine.
func removeNetns(path string) error {
	for {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			break // EINVAL: no more mounts here
		}
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// isNetns tells whether path holds a namespace, not the empty file that a mount leaves behind.
func isNetns(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Type == unix.NSFS_MAGIC
}
