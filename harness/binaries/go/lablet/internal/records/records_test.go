package records

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestEveryLineIsJSON(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out)
	if err := w.Object(map[string]int{"version": 1}); err != nil {
		t.Fatal(err)
	}
	w.Begin("r").Int(1, -2).Text("a \"quoted\"\nname").End()
	w.Begin("u").Int(1).Open().Open().Int(3, 4).Shut().Open().Int(6, 6).Shut().Shut().End()
	w.Begin("u").Open().Shut().Int(7).End()
	for range 5000 {
		w.Begin("r").Int(1, 2, 3).End()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 5004 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Fatalf("%q", line)
		}
	}
	if lines[2] != `["u",1,[[3,4],[6,6]]]` || lines[3] != `["u",[],7]` {
		t.Errorf("%s %s", lines[2], lines[3])
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestAFailedWriterNeverBlocks(t *testing.T) {
	w := NewWriter(full{})
	for range queued * 3 {
		w.Begin("r").End()
		w.Flush()
	}
	if err := w.Close(); err == nil {
		t.Fatal("the error of writing was lost")
	}
}
