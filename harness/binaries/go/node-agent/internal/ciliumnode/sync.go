package ciliumnode

import (
	"context"
	"log/slog"

	v1 "k8s.io/api/core/v1"

	"lblab/node-agent/internal/kube"
)

const collection = "/apis/cilium.io/v2/ciliumnodes"

// Syncer keeps the CiliumNode in step with the Node.
type Syncer struct {
	client *kube.Client
	nodes  chan *v1.Node // the latest state not handled yet
}

// NewSyncer makes a syncer; Run must run for it to do anything.
func NewSyncer(client *kube.Client) *Syncer {
	return &Syncer{client: client, nodes: make(chan *v1.Node, 1)}
}

// Observe hands over a new state of the Node; only one goroutine may call it.
func (s *Syncer) Observe(node *v1.Node) {
	select {
	case <-s.nodes: // overtaken before it was handled
	default:
	}
	s.nodes <- node
}

// Run writes the CiliumNode after every change of the Node until ctx ends. Until the operator has registered the
// kind, it tries again every kube.RetryInterval.
func (s *Syncer) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case node := <-s.nodes:
			_ = kube.Insist(ctx, "write the CiliumNode", func(ctx context.Context) error {
				select {
				case node = <-s.nodes:
				default:
				}
				return s.write(ctx, node)
			})
		}
	}
}

func (s *Syncer) write(ctx context.Context, node *v1.Node) error {
	current := object{}
	err := s.client.Get(ctx, collection+"/"+node.Name, &current)
	if kube.IsNotFound(err) {
		current = object{}
		current.apply(node)
		if err = s.client.Create(ctx, collection, current, nil); err == nil {
			slog.Info("CiliumNode created")
		}
		return err
	}
	if err != nil || !current.apply(node) {
		return err
	}
	if err = s.client.Update(ctx, collection+"/"+node.Name, current); err == nil {
		slog.Info("CiliumNode updated")
	}
	return err
}
