package podnet

import (
	"fmt"
	"net/netip"
	"sync"
)

// Gateway is the first address of a pod CIDR: the default gateway of every pod in it.
func Gateway(cidr netip.Prefix) netip.Addr { return cidr.Masked().Addr().Next() }

// Allocator hands out pod addresses: of each CIDR the lowest free one above the gateway.
type Allocator struct {
	cidrs []netip.Prefix
	mu    sync.Mutex
	taken map[netip.Addr]bool
}

// NewAllocator makes an allocator of the node's pod CIDRs.
func NewAllocator(cidrs []netip.Prefix) *Allocator {
	return &Allocator{cidrs: cidrs, taken: map[netip.Addr]bool{}}
}

// Allocate takes one address of each CIDR, in their order.
func (a *Allocator) Allocate() ([]netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.cidrs) == 0 {
		return nil, fmt.Errorf("this node has no pod CIDR")
	}
	var addresses []netip.Addr
	for _, cidr := range a.cidrs {
		address := Gateway(cidr).Next()
		for a.taken[address] {
			address = address.Next()
		}
		if !usable(cidr, address) {
			return nil, fmt.Errorf("no address is left in pod CIDR %s", cidr)
		}
		addresses = append(addresses, address)
	}
	a.mark(addresses, true)
	return addresses, nil
}

// Reserve takes the given addresses, for pods that run already.
func (a *Allocator) Reserve(addresses []netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mark(addresses, true)
}

// Release gives addresses back.
func (a *Allocator) Release(addresses []netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mark(addresses, false)
}

func (a *Allocator) mark(addresses []netip.Addr, taken bool) {
	for _, address := range addresses {
		if taken {
			a.taken[address] = true
		} else {
			delete(a.taken, address)
		}
	}
}

// usable tells whether a pod may have address: it is inside the CIDR and not its IPv4 broadcast address.
func usable(cidr netip.Prefix, address netip.Addr) bool {
	return cidr.Contains(address) && (address.Is6() || cidr.Contains(address.Next()))
}
