package podnet

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// PrepareNode makes the node's namespace route for pods: forwarding on, and a blackhole route for each pod CIDR, as
// otherwise packets to a pod that is gone would follow the default route back to the router, and round again.
func PrepareNode(cidrs []netip.Prefix) error {
	for _, cidr := range cidrs {
		forwarding := "net/ipv4/ip_forward"
		if cidr.Addr().Is6() {
			forwarding = "net/ipv6/conf/all/forwarding"
		}
		if err := writeSysctl(forwarding, "1"); err != nil {
			return err
		}
		ones, bits := cidr.Bits(), cidr.Addr().BitLen()
		blackhole := &netlink.Route{
			Dst:  &net.IPNet{IP: cidr.Masked().Addr().AsSlice(), Mask: net.CIDRMask(ones, bits)},
			Type: unix.RTN_BLACKHOLE,
		}
		if err := netlink.RouteReplace(blackhole); err != nil {
			return fmt.Errorf("blackhole route for pod CIDR %s: %w", cidr, err)
		}
	}
	return nil
}

// withoutAddressDetection turns IPv6 duplicate address detection off for an interface, or "default": it would keep
// the link-local address, which neighbour discovery uses, tentative for a second or two.
func withoutAddressDetection(name string) error {
	err := writeSysctl("net/ipv6/conf/"+name+"/accept_dad", "0")
	if errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6
		return nil
	}
	return err
}

// writeSysctl writes a value under /proc/sys; those below net/ are the calling thread's namespace's.
func writeSysctl(name, value string) error {
	return os.WriteFile("/proc/sys/"+name, []byte(value), 0o644)
}
