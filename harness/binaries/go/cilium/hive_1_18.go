//go:build cilium1.18

package main

import (
	"context"

	"github.com/cilium/hive/cell"

	"github.com/cilium/cilium/pkg/hive"
	"github.com/cilium/cilium/pkg/logging"
	"github.com/cilium/cilium/pkg/option"
)

// configured makes a hive of the cells and gives them the options.
func configured(cells []cell.Cell, options map[string]any) (*hive.Hive, error) {
	if err := logging.SetupLogging(nil, logOptions, "", options["debug"] == "true"); err != nil {
		return nil, err
	}
	h := hive.New(cells...)
	if err := h.Viper().MergeConfigMap(options); err != nil {
		return nil, err
	}
	option.Config.Populate(logging.DefaultSlogLogger, h.Viper())
	return h, nil
}

// run runs the cells until SIGTERM.
func run(cells []cell.Cell, options map[string]any) error {
	h, err := configured(cells, options)
	if err != nil {
		return err
	}
	return h.Run(logging.DefaultSlogLogger)
}

// runOnce starts the cells, which ends when their work at the start is done, and stops them.
func runOnce(cells []cell.Cell, options map[string]any) error {
	h, err := configured(cells, options)
	if err != nil {
		return err
	}
	if err := h.Start(logging.DefaultSlogLogger, context.Background()); err != nil {
		return err
	}
	return h.Stop(logging.DefaultSlogLogger, context.Background())
}
