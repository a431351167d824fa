// Package ciliumnode keeps the CiliumNode object of this node, which in a real cluster is the Cilium agent's to
// make (pkg/nodediscovery, mutateNodeResource) and which Cilium's BGP control plane reads its node labels, router
// ID and pod CIDRs from. It is handled as plain JSON: the agent must not depend on a version of Cilium.
package ciliumnode

import (
	"encoding/json"
	"reflect"

	v1 "k8s.io/api/core/v1"
)

// object is a Kubernetes object of any kind.
type object map[string]any

// apply gives a CiliumNode what the Cilium agent takes from the Node, leaving fields of others (the operator's
// spec.ipam.pools and status) as they are; it tells whether anything changed.
func (o object) apply(node *v1.Node) bool {
	before := clone(o)
	o["apiVersion"], o["kind"] = "cilium.io/v2", "CiliumNode"
	metadata := o.child("metadata")
	metadata["name"] = node.Name
	metadata["labels"] = plain(node.Labels)
	metadata["annotations"] = plain(node.Annotations)
	metadata["ownerReferences"] = []any{
		map[string]any{"apiVersion": "v1", "kind": "Node", "name": node.Name, "uid": string(node.UID)},
	}
	spec := o.child("spec")
	addresses := []any{}
	for _, address := range node.Status.Addresses {
		if address.Type == v1.NodeInternalIP || address.Type == v1.NodeExternalIP {
			addresses = append(addresses, map[string]any{"type": string(address.Type), "ip": address.Address})
		}
	}
	spec["addresses"] = addresses
	spec["bootid"] = node.Status.NodeInfo.BootID
	cidrs := []any{}
	for _, cidr := range node.Spec.PodCIDRs {
		cidrs = append(cidrs, cidr)
	}
	object(spec).child("ipam")["podCIDRs"] = cidrs
	return !reflect.DeepEqual(before, clone(o))
}

// child returns the object in field name, made when it is absent.
func (o object) child(name string) map[string]any {
	if inner, ok := o[name].(map[string]any); ok {
		return inner
	}
	inner := map[string]any{}
	o[name] = inner
	return inner
}

// plain is a map as encoding/json decodes it.
func plain(texts map[string]string) map[string]any {
	all := make(map[string]any, len(texts))
	for key, text := range texts {
		all[key] = text
	}
	return all
}

// clone copies an object through JSON, so that what was just made compares equal to what was decoded; empty maps
// and lists are dropped, because the API server does not return them.
func clone(o object) object {
	data, err := json.Marshal(o)
	if err != nil {
		panic(err) // only JSON types go in
	}
	var copied object
	if err := json.Unmarshal(data, &copied); err != nil {
		panic(err)
	}
	dropEmpty(copied)
	return copied
}

func dropEmpty(o map[string]any) {
	for key, value := range o {
		switch value := value.(type) {
		case map[string]any:
			dropEmpty(value)
			if len(value) == 0 {
				delete(o, key)
			}
		case []any:
			if len(value) == 0 {
				delete(o, key)
			}
		}
	}
}
