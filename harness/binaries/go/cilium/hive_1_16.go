//go:build cilium1.16 && !cilium1.18

package main

import (
	"time"

	"github.com/cilium/hive/cell"
	"github.com/sirupsen/logrus"

	"github.com/cilium/cilium/pkg/hive"
	"github.com/cilium/cilium/pkg/logging"
	"github.com/cilium/cilium/pkg/option"
)

// runHive configures the cells with the options and runs them until SIGTERM.
func runHive(cells []cell.Cell, options map[string]any) error {
	if err := logging.SetupLogging(nil, logOptions, "", options["debug"] == "true"); err != nil {
		return err
	}
	// Cilium's own formatter gives whole seconds, too coarse to order events by.
	logging.DefaultLogger.SetFormatter(&logrus.TextFormatter{DisableColors: true, FullTimestamp: true, TimestampFormat: time.RFC3339Nano})
	h := hive.New(cells...)
	if err := h.Viper().MergeConfigMap(options); err != nil {
		return err
	}
	option.Config.Populate(h.Viper())
	return h.Run(logging.DefaultSlogLogger)
}
