package node

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"runtime"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"golang.org/x/sys/unix"
)

// host is what the machine that all nodes of the lab share says about itself.
type host struct {
	cpus        int64
	memory      int64 // bytes
	storage     int64 // bytes
	kernel      string
	osImage     string
	bootID      string
	nodeMachine string // machine ID of the node: made from its name, because all nodes share the machine's
}

// probeHost reads the facts; what cannot be read stays empty, as it only decorates the Node object.
func probeHost(node, folder string) host {
	sum := sha256.Sum256([]byte("lblab node " + node))
	h := host{cpus: int64(runtime.NumCPU()), nodeMachine: hex.EncodeToString(sum[:16])}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		h.memory = int64(info.Totalram) * int64(info.Unit)
	}
	var fs unix.Statfs_t
	if unix.Statfs(folder, &fs) == nil {
		h.storage = int64(fs.Blocks) * fs.Bsize
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		h.kernel = unix.ByteSliceToString(name.Release[:])
	}
	if id, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		h.bootID = strings.TrimSpace(string(id))
	}
	h.osImage = prettyName("/etc/os-release")
	return h
}

// prettyName reads PRETTY_NAME from an os-release(5) file.
func prettyName(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if value, found := strings.CutPrefix(lines.Text(), "PRETTY_NAME="); found {
			return strings.Trim(value, `"'`)
		}
	}
	return ""
}

func (h host) resources() v1.ResourceList {
	return v1.ResourceList{
		v1.ResourceCPU:              *resource.NewQuantity(h.cpus, resource.DecimalSI),
		v1.ResourceMemory:           *resource.NewQuantity(h.memory, resource.BinarySI),
		v1.ResourceEphemeralStorage: *resource.NewQuantity(h.storage, resource.BinarySI),
		v1.ResourcePods:             *resource.NewQuantity(maxPods, resource.DecimalSI),
	}
}

func (h host) info() v1.NodeSystemInfo {
	return v1.NodeSystemInfo{
		MachineID: h.nodeMachine, SystemUUID: h.nodeMachine, BootID: h.bootID,
		KernelVersion: h.kernel, OSImage: h.osImage, OperatingSystem: runtime.GOOS, Architecture: runtime.GOARCH,
		ContainerRuntimeVersion: "lblab://" + KubeletVersion, KubeletVersion: KubeletVersion,
	}
}
