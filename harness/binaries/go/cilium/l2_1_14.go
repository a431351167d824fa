//go:build !cilium1.16

package main

import (
	"errors"

	"github.com/cilium/cilium/pkg/hive/cell"
)

// layer2 is not here before 1.16, whose announcer is told of devices by the agent itself.
func layer2(string) ([]cell.Cell, error) {
	return nil, errors.New("L2 announcements are built for Cilium 1.16 and later only")
}
