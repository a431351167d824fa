package prober

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"lblab/lablet/internal/server"
)

func TestAGameIsPlayed(t *testing.T) {
	address, _ := pod(t, "127.0.0.1")
	got := probe(t, func() { time.Sleep(300 * time.Millisecond) }, "--game", "--to="+address, "--rate=100", "--flows=2")
	for _, flow := range []float64{0, 1} {
		var acknowledged, updates int
		for _, record := range got.records["r"] {
			if record[0].(float64) == flow {
				acknowledged++
			}
		}
		for _, record := range got.records["m"] {
			if record[1].(float64) == flow {
				updates++
			}
		}
		if acknowledged < 20 || updates < 20 {
			t.Errorf("player %v: %d inputs acknowledged in %d updates", flow, acknowledged, updates)
		}
	}
	if len(got.records["j"]) != 2 || len(got.records["k"]) != 0 || len(got.records["d"]) != 0 {
		t.Errorf("greeted %v, refused %v, disconnected %v", got.records["j"], got.records["k"], got.records["d"])
	}
}

func TestAServerThatStallsSendsNothing(t *testing.T) {
	control := filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	port := 20000 + int(time.Now().UnixNano()%20000)
	if err := server.Start(ctx, &server.Server{Node: "w", Pod: "d/p"}, control, fmt.Sprintf("udp/%d", port)); err != nil {
		t.Fatal(err)
	}
	arguments := []string{"--game", fmt.Sprintf("--to=127.0.0.1:%d", port), "--rate=100", "--disconnect-after=150ms"}
	got := probe(t, func() {
		time.Sleep(100 * time.Millisecond)
		connection, err := net.Dial("unix", control)
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		fmt.Fprintln(connection, "stall 400ms")
		time.Sleep(700 * time.Millisecond)
	}, arguments...)
	longest, before := 0.0, 0.0
	for _, record := range got.records["m"] {
		if replied := record[3].(float64); before != 0 {
			longest = max(longest, replied-before)
		}
		before = record[3].(float64)
	}
	if longest < 350e6 {
		t.Errorf("the longest pause of the server was %v ms", longest/1e6)
	}
	if len(got.records["d"]) == 0 || len(got.records["j"]) < 2 {
		t.Errorf("the player did not give up and join again: %v, %v", got.records["d"], got.records["j"])
	}
}
