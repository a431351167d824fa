//go:build !cilium1.16

package main

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/cilium/cilium/pkg/hive"
	"github.com/cilium/cilium/pkg/hive/cell"
	"github.com/cilium/cilium/pkg/logging"
	"github.com/cilium/cilium/pkg/option"
)

// configured makes a hive of the cells and gives them the options.
func configured(cells []cell.Cell, options map[string]any) (*hive.Hive, error) {
	if err := logging.SetupLogging(nil, logOptions, "", options["debug"] == "true"); err != nil {
		return nil, err
	}
	// Cilium's own formatter gives whole seconds, too coarse to order events by.
	logging.DefaultLogger.SetFormatter(&logrus.TextFormatter{DisableColors: true, FullTimestamp: true, TimestampFormat: time.RFC3339Nano})
	h := hive.New(cells...)
	if err := h.Viper().MergeConfigMap(options); err != nil {
		return nil, err
	}
	option.Config.Populate(h.Viper())
	return h, nil
}

// run runs the cells until SIGTERM.
func run(cells []cell.Cell, options map[string]any) error {
	h, err := configured(cells, options)
	if err != nil {
		return err
	}
	return h.Run()
}

// runOnce starts the cells, which ends when their work at the start is done, and stops them.
func runOnce(cells []cell.Cell, options map[string]any) error {
	h, err := configured(cells, options)
	if err != nil {
		return err
	}
	if err := h.Start(context.Background()); err != nil {
		return err
	}
	return h.Stop(context.Background())
}
