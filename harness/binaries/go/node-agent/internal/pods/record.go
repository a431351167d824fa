package pods

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// record is what of a pod is kept in its folder for the next agent: as with the kubelet, pods outlive the agent.
type record struct {
	UID         string       `json:"uid"`
	Namespace   string       `json:"namespace"`
	Name        string       `json:"name"`
	HostNetwork bool         `json:"hostNetwork"`
	Addresses   []netip.Addr `json:"addresses"`
	PodStarted  time.Time    `json:"podStarted"`
	PID         int          `json:"pid"` // 0: not running
	StartTicks  uint64       `json:"startTicks"`
	Started     time.Time    `json:"started"`
	Restarts    int          `json:"restarts"`
	Last        *lastRun     `json:"last,omitempty"`
	BackOff     backOff      `json:"backOff"`
}

// folder is where everything of one pod lies.
type folder string

func (f folder) netns() string   { return filepath.Join(string(f), "netns") }
func (f folder) control() string { return filepath.Join(string(f), "control") }
func (f folder) log() string     { return filepath.Join(string(f), "log") }
func (f folder) record() string  { return filepath.Join(string(f), "record.json") }

// MaxRunDir is the longest path of a run folder: below it lies "pods/UID/control", and the name of a UNIX socket has
// at most 107 characters (unix(7)).
const MaxRunDir = 107 - len("/pods/00000000-0000-0000-0000-000000000000/control")

// save writes the record so that a reader sees the old or the new one, never a part.
func (f folder) save(r record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fresh := f.record() + ".new"
	if err := os.WriteFile(fresh, data, 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, f.record())
}

func (f folder) load() (record, error) {
	var r record
	data, err := os.ReadFile(f.record())
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(data, &r)
}

// loadRecords reads the records of all pods below a folder. A pod folder without a readable record, left by an
// agent that died while it made the pod, is given with its uid alone.
func loadRecords(pods string) ([]record, error) {
	entries, err := os.ReadDir(pods)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var records []record
	for _, entry := range entries {
		r, err := folder(filepath.Join(pods, entry.Name())).load()
		if err != nil {
			slog.Warn("pod folder without a record", "uid", entry.Name(), "error", err)
			r = record{}
		}
		r.UID = entry.Name()
		records = append(records, r)
	}
	return records, nil
}
