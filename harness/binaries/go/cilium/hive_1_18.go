//go:build cilium1.18

package main

import (
	"github.com/cilium/hive/cell"

	"github.com/cilium/cilium/pkg/hive"
	"github.com/cilium/cilium/pkg/logging"
	"github.com/cilium/cilium/pkg/option"
)

// runHive configures the cells with the options and runs them until SIGTERM.
func runHive(cells []cell.Cell, options map[string]any) error {
	if err := logging.SetupLogging(nil, logOptions, "", options["debug"] == "true"); err != nil {
		return err
	}
	h := hive.New(cells...)
	if err := h.Viper().MergeConfigMap(options); err != nil {
		return err
	}
	option.Config.Populate(logging.DefaultSlogLogger, h.Viper())
	return h.Run(logging.DefaultSlogLogger)
}
