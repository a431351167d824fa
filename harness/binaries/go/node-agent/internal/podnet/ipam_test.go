package podnet

import (
	"fmt"
	"net/netip"
	"testing"
)

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func TestAllocatorGivesTheLowestFreeAddresses(t *testing.T) {
	a := NewAllocator(prefixes("10.244.1.0/24", "fd00:1::/64"))
	reserved := []netip.Addr{netip.MustParseAddr("10.244.1.3")}
	a.Reserve(reserved)
	var taken [][]netip.Addr
	for _, wanted := range []string{"[10.244.1.2 fd00:1::2]", "[10.244.1.4 fd00:1::3]"} {
		addresses, err := a.Allocate()
		if err != nil || fmt.Sprint(addresses) != wanted {
			t.Errorf("got %v, %v; want %s", addresses, err, wanted)
		}
		taken = append(taken, addresses)
	}
	a.Release(taken[0])
	if again, err := a.Allocate(); err != nil || fmt.Sprint(again) != "[10.244.1.2 fd00:1::2]" {
		t.Errorf("after a release: %v, %v", again, err)
	}
}

func TestAllocatorEndsBeforeTheBroadcastAddress(t *testing.T) {
	a := NewAllocator(prefixes("10.244.1.0/29")) // .1 is the gateway, .7 the broadcast address
	for want := 2; want <= 6; want++ {
		addresses, err := a.Allocate()
		if err != nil || addresses[0].String() != fmt.Sprintf("10.244.1.%d", want) {
			t.Fatalf("got %v, %v; want .%d", addresses, err, want)
		}
	}
	if addresses, err := a.Allocate(); err == nil {
		t.Errorf("got %v from a full CIDR", addresses)
	}
}

func TestVethNamesFitAndDiffer(t *testing.T) {
	one, other := VethName("b298394f-7a66-4477-b599-44deb2fcd5a2"), VethName("b298394f-7a66-4477-b599-44deb2fcd5a3")
	if one == other || len(one) > 15 {
		t.Errorf("names %s and %s", one, other)
	}
}
