// Command cilium is the part of Cilium that announces service addresses, at one Cilium version, as one program with two
// names:
//
//	cilium-bgp --kubeconfig FILE --node NAME      the agent's BGP control plane for one node, and with
//	                                              --enable-l2-announcements --l2-responder SOCKET its L2 announcer
//	cilium-operator --kubeconfig FILE             LB-IPAM and the operator's part of BGP
//	cilium-operator --kubeconfig FILE --register-crds
//	                                              register this version's CRDs, wait until they are served, and end
//
// Both are Cilium's own Hive cells with the real Kubernetes client; this module only chooses the cells and gives them
// their configuration. Every option of the agent or operator that those cells read may be given as --name=value, or as a
// file NAME in --config-dir as in the cilium-config volume of a real agent; the command line wins.
//
// The other files are chosen by build tags that work like those of Go's releases: building at Cilium 1.18 sets cilium1.14,
// cilium1.15 ... cilium1.18, so that "cilium1.16 && !cilium1.19" means 1.16 up to 1.18.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
)

// defaults are the values of a Cilium installation by Helm with bgpControlPlane.enabled, as far as the chosen cells read
// them and they are not the zero value. IPv6 is on, which is not Helm's default: it only means that IPv6 services are
// served where there are any. The lease's timers count where L2 announcements are enabled.
var defaults = map[string]any{
	"bgp-router-id-allocation-mode":          "default",
	"bgp-secrets-namespace":                  "kube-system",
	"bpf-lb-proto-diff":                      "true",
	"cluster-name":                           "default",
	"enable-bgp-control-plane":               "true",
	"enable-bgp-control-plane-status-report": "true",
	"enable-cilium-node-crd":                 "true",
	"enable-internal-traffic-policy":         "true",
	"enable-ipv4":                            "true",
	"enable-ipv6":                            "true",
	"enable-k8s-endpoint-slice":              "true",
	"enable-k8s-terminating-endpoint":        "true",
	"ipam":                                   "kubernetes",
	"l2-announcements-lease-duration":        "15s",
	"l2-announcements-renew-deadline":        "5s",
	"l2-announcements-retry-period":          "2s",
}

// logOptions make every log line begin with its time.
var logOptions = map[string]string{"format": "text-ts", "writer": "stderr"}

// settings are the options of this program itself; everything else on the command line is an option of Cilium.
type settings struct {
	kubeconfig, node, namespace, configDir, responder string
	registerCRDs                                      bool
}

func main() {
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	if name != "cilium-bgp" && name != "cilium-operator" && len(args) > 0 {
		name, args = "cilium-"+args[0], args[1:]
	}
	os.Stdout = os.Stderr // before 1.18 Cilium logs to standard output
	if err := start(name, args); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

func start(name string, args []string) error {
	own, given, err := parse(args)
	if err != nil {
		return err
	}
	if own.kubeconfig == "" {
		return fmt.Errorf("--kubeconfig is missing")
	}
	options := map[string]any{}
	for key, value := range defaults {
		options[key] = value
	}
	if own.configDir != "" {
		if err := readConfigDir(own.configDir, options); err != nil {
			return err
		}
	}
	for key, value := range given {
		options[key] = value
	}
	options["k8s-kubeconfig-path"] = own.kubeconfig
	options["k8s-namespace"] = own.namespace
	switch name {
	case "cilium-bgp":
		if own.node == "" {
			return fmt.Errorf("--node is missing")
		}
		cells := agent(own.node)
		if options["enable-l2-announcements"] == "true" {
			more, err := layer2(own.responder)
			if err != nil {
				return err
			}
			cells = append(cells, more...)
		}
		return run(cells, options)
	case "cilium-operator":
		// The real operator registers the CRDs at every start. Cilium 1.20 takes 6 s to see that they are there already,
		// and a lab begins with an API server that has them.
		if own.registerCRDs {
			return runOnce(definitions(), options)
		}
		return run(operator(), options)
	}
	return fmt.Errorf("unknown program, expected cilium-bgp or cilium-operator")
}

// parse splits the command line into this program's own options and those of Cilium. Cilium's cells register flags
// for some of their options only, so any other name is taken as an option too and must be written --name=value.
func parse(args []string) (settings, map[string]any, error) {
	var own settings
	flags := pflag.NewFlagSet("lblab", pflag.ContinueOnError)
	flags.StringVar(&own.kubeconfig, "kubeconfig", "", "how to reach the API server")
	flags.StringVar(&own.node, "node", "", "the name of the node")
	flags.StringVar(&own.namespace, "namespace", "kube-system", "the namespace of Cilium")
	flags.StringVar(&own.configDir, "config-dir", "", "a folder with one file per option of Cilium")
	flags.StringVar(&own.responder, "l2-responder", "", "the socket of what answers ARP in place of BPF")
	flags.BoolVar(&own.registerCRDs, "register-crds", false, "only register the CRDs")
	flags.String("pod-cidrs", "", "accepted and not used: the CiliumNode object says the same")

	given := map[string]any{}
	var mine []string
	for i := 0; i < len(args); i++ {
		key, value, hasValue := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if flag := flags.Lookup(key); flag != nil || !strings.HasPrefix(args[i], "--") {
			mine = append(mine, args[i])
			if flag != nil && flag.NoOptDefVal == "" && !hasValue && i+1 < len(args) {
				i++
				mine = append(mine, args[i])
			}
			continue
		}
		if !hasValue {
			value = "true"
		}
		given[key] = value
	}
	if err := flags.Parse(mine); err != nil {
		return own, nil, err
	}
	if flags.NArg() > 0 {
		return own, nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return own, given, nil
}

// readConfigDir adds one option per file of dir: its name is the option's, its content the value.
func readConfigDir(dir string, options map[string]any) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		// A mounted ConfigMap holds ..data folders beside the links to its keys.
		if strings.HasPrefix(entry.Name(), ".") || entry.IsDir() {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		options[entry.Name()] = strings.TrimSpace(string(content))
	}
	return nil
}
