// Package podnet gives each pod its network: a namespace of its own and a point-to-point veth pair. The node side of
// every veth has the gateway address of the pod CIDR, the pod side the pod's address as a host address and its
// default route through the gateway; the node has a host route to each pod. No bridge, no proxy ARP.
package podnet

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// vethPrefix begins the name of every veth that the agent makes in the node's namespace.
const vethPrefix = "lbp"

// podInterface is the pod's own name of its veth, as in every CNI plugin.
const podInterface = "eth0"

// Sandbox is the network of one pod.
type Sandbox struct {
	Netns     string       // file that holds the pod's network namespace
	Addresses []netip.Addr // the pod's
	cidrs     []netip.Prefix
	veth      string
}

// NewSandbox describes the network of the pod with the given uid; nothing is made yet.
func NewSandbox(netns, uid string, addresses []netip.Addr, cidrs []netip.Prefix) *Sandbox {
	return &Sandbox{Netns: netns, Addresses: addresses, cidrs: cidrs, veth: VethName(uid)}
}

// VethName is the node-side interface name of the pod with the given uid.
func VethName(uid string) string {
	sum := sha256.Sum256([]byte(uid))
	return vethPrefix + hex.EncodeToString(sum[:5]) // 13 characters; the kernel takes 15
}

// Exists tells whether the whole sandbox is there: false after the node's namespace was made anew.
func (s *Sandbox) Exists() bool {
	if !isNetns(s.Netns) {
		return false
	}
	_, err := netlink.LinkByName(s.veth)
	return err == nil
}

// Adopt tells whether the sandbox of a running process, which an earlier agent made, is whole, and takes hold of its
// namespace: the earlier agent's mount is not seen here if it had a mount namespace of its own.
func (s *Sandbox) Adopt(pid int) (bool, error) {
	if _, err := netlink.LinkByName(s.veth); err != nil {
		return false, nil
	}
	if isNetns(s.Netns) {
		return true, nil
	}
	if err := holdNetns(s.Netns, fmt.Sprintf("/proc/%d/ns/net", pid)); err != nil {
		return false, err
	}
	return true, nil
}

// Create makes the sandbox, clearing away what is left of an earlier one.
func (s *Sandbox) Create() error {
	if err := s.Remove(); err != nil {
		return err
	}
	if err := createNetns(s.Netns, preparePod); err != nil {
		return err
	}
	if err := s.connect(); err != nil {
		return errors.Join(fmt.Errorf("connect the pod: %w", err), s.Remove())
	}
	return nil
}

// Remove takes the sandbox away; the processes in it, if any, lose their network at once.
func (s *Sandbox) Remove() error {
	// The link goes first and by itself: the kernel would take it away some time after the namespace's last user.
	if err := removeLink(s.veth); err != nil {
		return err
	}
	return removeNetns(s.Netns)
}

// preparePod sets up what a fresh pod namespace needs; it runs inside it.
func preparePod() error {
	if err := withoutAddressDetection("default"); err != nil {
		return err
	}
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(loopback)
}

// connect makes the veth pair and both sides' addresses and routes.
func (s *Sandbox) connect() error {
	netns, err := os.Open(s.Netns)
	if err != nil {
		return err
	}
	defer netns.Close()
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: s.veth}, PeerName: podInterface, PeerNamespace: netlink.NsFd(int(netns.Fd())),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return err
	}
	// The pod's side first, so that the node never routes packets to a pod that cannot take them.
	if err := Inside(s.Netns, s.configurePod); err != nil {
		return err
	}
	if err := s.configureNode(); err != nil {
		return err
	}
	return Inside(s.Netns, waitForCarrier)
}

// waitForCarrier returns when the pod's side of the link, which was set up before its peer, passes packets. The kernel
// activates it some time after the peer is up; packets sent before then are lost, and a lost SYN costs a second.
func waitForCarrier() error {
	const patience, pause = time.Second, 200 * time.Microsecond
	for begin := time.Now(); ; time.Sleep(pause) {
		link, err := netlink.LinkByName(podInterface)
		if err != nil {
			return err
		}
		if link.Attrs().OperState == netlink.OperUp {
			return nil
		}
		if time.Since(begin) > patience {
			return fmt.Errorf("%s is still %s after %s", podInterface, link.Attrs().OperState, patience)
		}
	}
}

func (s *Sandbox) configurePod() error {
	link, err := netlink.LinkByName(podInterface)
	if err != nil {
		return err
	}
	for _, address := range s.Addresses {
		if err := addHostAddress(link, address); err != nil {
			return err
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	for _, gateway := range s.gateways() {
		toGateway := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: hostNet(gateway), Scope: netlink.SCOPE_LINK}
		if err := netlink.RouteReplace(toGateway); err != nil {
			return fmt.Errorf("route to the gateway %s: %w", gateway, err)
		}
		byDefault := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway.AsSlice()}
		if err := netlink.RouteReplace(byDefault); err != nil {
			return fmt.Errorf("default route through %s: %w", gateway, err)
		}
	}
	return nil
}

func (s *Sandbox) configureNode() error {
	link, err := netlink.LinkByName(s.veth)
	if err != nil {
		return err
	}
	if err := withoutAddressDetection(s.veth); err != nil {
		return err
	}
	for _, gateway := range s.gateways() {
		if err := addHostAddress(link, gateway); err != nil {
			return err
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	for _, address := range s.Addresses {
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: hostNet(address), Scope: netlink.SCOPE_LINK}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("route to the pod %s: %w", address, err)
		}
	}
	return nil
}

// gateways returns the gateway of each of the pod's addresses.
func (s *Sandbox) gateways() []netip.Addr {
	var gateways []netip.Addr
	for _, address := range s.Addresses {
		for _, cidr := range s.cidrs {
			if cidr.Contains(address) {
				gateways = append(gateways, Gateway(cidr))
			}
		}
	}
	return gateways
}

func hostNet(address netip.Addr) *net.IPNet {
	return &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(address.BitLen(), address.BitLen())}
}

func addHostAddress(link netlink.Link, address netip.Addr) error {
	wanted := &netlink.Addr{IPNet: hostNet(address)}
	if address.Is6() {
		wanted.Flags = unix.IFA_F_NODAD
	}
	if err := netlink.AddrReplace(link, wanted); err != nil {
		return fmt.Errorf("address %s on %s: %w", address, link.Attrs().Name, err)
	}
	return nil
}

// removeLink deletes an interface; one that is not there is fine.
func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return err
	}
	err = netlink.LinkDel(link)
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// RemoveStale deletes the agent's veths that belong to none of the given pod uids, and returns their names.
func RemoveStale(uids []string) ([]string, error) {
	wanted := map[string]bool{}
	for _, uid := range uids {
		wanted[VethName(uid)] = true
	}
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	var removed []string
	for _, link := range links {
		name := link.Attrs().Name
		if !strings.HasPrefix(name, vethPrefix) || link.Type() != "veth" || wanted[name] {
			continue
		}
		if err := removeLink(name); err != nil {
			return removed, err
		}
		removed = append(removed, name)
	}
	return removed, nil
}
