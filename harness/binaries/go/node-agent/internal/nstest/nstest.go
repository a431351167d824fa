// Package nstest runs a package's tests in fresh user, network and mount namespaces, so that they may do to the
// network what the agent does, as any user.
package nstest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

// inside marks the test process that already runs in the new namespaces; reason says why there are none.
const inside, reason = "LBLAB_TEST_IN_NAMESPACES", "LBLAB_TEST_NO_NAMESPACES"

// Main is for TestMain.
func Main(m *testing.M) {
	if os.Getenv(inside) != "" {
		if err := loopbackUp(); err != nil {
			fmt.Fprintln(os.Stderr, "loopback:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	again := exec.Command("/proc/self/exe", os.Args[1:]...)
	again.Args[0] = os.Args[0]
	again.Stdin, again.Stdout, again.Stderr = os.Stdin, os.Stdout, os.Stderr
	again.Env = append(os.Environ(), inside+"=1")
	again.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if err := again.Start(); err != nil {
		os.Setenv(reason, err.Error())
		os.Exit(m.Run())
	}
	err := again.Wait()
	var failed *exec.ExitError
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &failed):
		os.Exit(max(failed.ExitCode(), 1))
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func loopbackUp() error {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(loopback)
}

// Need skips a test where this machine has no user namespaces for this user.
func Need(t *testing.T) {
	t.Helper()
	if why := os.Getenv(reason); why != "" {
		t.Skip("no user namespaces: ", why)
	}
}
