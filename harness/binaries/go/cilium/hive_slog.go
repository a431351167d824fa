//go:build cilium1.18

package main

import (
	"github.com/cilium/hive/cell"
	"github.com/spf13/pflag"

	"github.com/cilium/cilium/pkg/hive"
	"github.com/cilium/cilium/pkg/logging"
	"github.com/cilium/cilium/pkg/option"
)

// runHive configures the cells with the options and runs them until SIGTERM.
func runHive(cells []cell.Cell, options map[string]any) error {
	if err := logging.SetupLogging(nil, logging.LogOptions{"format": "text-ts", "writer": "stderr"}, "cilium", options["debug"] == "true"); err != nil {
		return err
	}
	h := hive.New(cells...)
	flags := pflag.NewFlagSet("cilium", pflag.ContinueOnError)
	h.RegisterFlags(flags)
	if err := h.Viper().BindPFlags(flags); err != nil {
		return err
	}
	if err := h.Viper().MergeConfigMap(options); err != nil {
		return err
	}
	option.Config.Populate(logging.DefaultSlogLogger, h.Viper())
	return h.Run(logging.DefaultSlogLogger)
}
