//go:build cilium1.16

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/cilium/cilium/pkg/maps/configmap"
)

// answerWithin bounds the wait for the responder: its answer needs no more than a lock.
const answerWithin = 2 * time.Second

// entry is a key of the BPF map cilium_l2_responder_v4 (pkg/maps/l2respondermap).
type entry struct {
	IP      netip.Addr `json:"ip"`
	IfIndex int        `json:"ifindex"`
}

// responder stands where the agent programs the kernel: the BPF maps cilium_l2_responder_v4 and cilium_runtime_config.
// A process of its own ("lablet l2-responder") holds them and answers ARP, so that they outlive the agent.
type responder struct {
	path string

	lock  sync.Mutex
	conn  net.Conn
	lines *bufio.Reader
}

type request struct {
	Op string `json:"op"`
	*entry
	// Gratuitous is the operation of the one gratuitous ARP that this version of Cilium sends for a new entry.
	Gratuitous string `json:"gratuitous,omitempty"`
	// AtNS is the moment of a sign of life, CLOCK_MONOTONIC nanoseconds.
	AtNS uint64 `json:"at_ns,omitempty"`
}

type reply struct {
	Error   string  `json:"error"`
	Entries []entry `json:"entries"`
	AliveNS uint64  `json:"alive_ns"`
}

func (r *responder) list() ([]entry, error) {
	answer, err := r.ask(request{Op: "list"})
	return answer.Entries, err
}

func (r *responder) create(e entry) error {
	_, err := r.ask(request{Op: "create", entry: &e, Gratuitous: gratuitous})
	return err
}

func (r *responder) delete(e entry) error {
	_, err := r.ask(request{Op: "delete", entry: &e})
	return err
}

// Update writes a slot of cilium_runtime_config; the agent's sign of life is the only one that is looked at.
func (r *responder) Update(index configmap.Index, value uint64) error {
	if index != configmap.AgentLiveness {
		return nil
	}
	_, err := r.ask(request{Op: "alive", AtNS: value})
	return err
}

// Get reads a slot of cilium_runtime_config.
func (r *responder) Get(index configmap.Index) (uint64, error) {
	if index != configmap.AgentLiveness {
		return 0, nil
	}
	answer, err := r.ask(request{Op: "list"})
	return answer.AliveNS, err
}

// ask sends one line and reads one, over a connection that is kept; one that broke is made anew, once.
func (r *responder) ask(what request) (reply, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	kept := r.conn != nil
	answer, err := r.exchange(what)
	if err != nil && kept {
		answer, err = r.exchange(what)
	}
	if err != nil {
		return reply{}, fmt.Errorf("L2 responder: %w", err)
	}
	if answer.Error != "" {
		return reply{}, errors.New("L2 responder: " + answer.Error)
	}
	return answer, nil
}

func (r *responder) exchange(what request) (answer reply, err error) {
	defer func() {
		if err != nil && r.conn != nil {
			r.conn.Close()
			r.conn = nil
		}
	}()
	if r.conn == nil {
		if r.conn, err = net.DialTimeout("unix", r.path, answerWithin); err != nil {
			r.conn = nil
			return reply{}, err
		}
		r.lines = bufio.NewReader(r.conn)
	}
	if err = r.conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return reply{}, err
	}
	if err = json.NewEncoder(r.conn).Encode(what); err != nil {
		return reply{}, err
	}
	line, err := r.lines.ReadBytes('\n')
	if err != nil {
		return reply{}, err
	}
	return answer, json.Unmarshal(line, &answer)
}
