// Package records writes what a probe or a tap saw: JSON lines, a header object first, then one array per record whose first
// element names its kind, then an object {"end": ...}. harness/traffic/records.py reads them.
package records

import (
	"encoding/json"
	"io"
	"os"
	"strconv"
	"sync"
)

const (
	chunk  = 32 << 10 // bytes that are collected before they are handed to the writing goroutine
	queued = 256      // chunks that may wait for a slow reader; then the prober blocks, and its own gap says so
)

// Writer collects records and writes them from a goroutine of its own, so that a slow disk or reader does not delay a probe.
// It is meant for one goroutine; see Locked for several.
type Writer struct {
	buffer []byte
	chunks chan []byte
	free   chan []byte
	done   chan error
	first  bool
}

// Open writes to a file, or to standard output for "" and "-".
func Open(path string) (*Writer, error) {
	if path == "" || path == "-" {
		return NewWriter(os.Stdout), nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return NewWriter(file), nil
}

// NewWriter starts the writing goroutine; Close ends it.
func NewWriter(out io.Writer) *Writer {
	w := &Writer{chunks: make(chan []byte, queued), free: make(chan []byte, queued), done: make(chan error, 1)}
	go func() {
		var failed error
		for chunk := range w.chunks {
			if failed == nil { // after a failure (disk full, reader gone) the rest is drained, so that nobody blocks
				_, failed = out.Write(chunk)
			}
			select {
			case w.free <- chunk[:0]:
			default:
			}
		}
		if closer, ok := out.(io.Closer); ok && failed == nil {
			failed = closer.Close()
		}
		w.done <- failed
	}()
	return w
}

// Object writes a header or end line.
func (w *Writer) Object(value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	w.buffer = append(append(w.buffer, text...), '\n')
	return nil
}

// Begin starts a record of a kind; the fields follow, then End.
func (w *Writer) Begin(kind string) *Writer {
	w.buffer = append(w.buffer, '[', '"')
	w.buffer = append(append(w.buffer, kind...), '"')
	return w
}

// Int adds numbers.
func (w *Writer) Int(values ...int64) *Writer {
	for _, value := range values {
		w.separate()
		w.buffer = strconv.AppendInt(w.buffer, value, 10)
	}
	return w
}

// Text adds a string; node and pod names and errors, so escaping costs do not matter.
func (w *Writer) Text(values ...string) *Writer {
	for _, value := range values {
		w.separate()
		text, err := json.Marshal(value)
		if err != nil {
			panic(err) // a string can always be written
		}
		w.buffer = append(w.buffer, text...)
	}
	return w
}

// Open and Shut put a list into a record.
func (w *Writer) Open() *Writer {
	w.separate()
	w.buffer = append(w.buffer, '[')
	w.first = true
	return w
}

// Shut ends the list that Open began.
func (w *Writer) Shut() *Writer {
	w.buffer = append(w.buffer, ']')
	w.first = false
	return w
}

// End ends a record.
func (w *Writer) End() {
	w.buffer = append(w.buffer, ']', '\n')
	if len(w.buffer) >= chunk {
		w.Flush()
	}
}

func (w *Writer) separate() {
	if !w.first {
		w.buffer = append(w.buffer, ',')
	}
	w.first = false
}

// Flush hands over what has been collected.
func (w *Writer) Flush() {
	if len(w.buffer) == 0 {
		return
	}
	w.chunks <- w.buffer
	select {
	case w.buffer = <-w.free:
	default:
		w.buffer = make([]byte, 0, chunk+4096)
	}
}

// Close writes the rest and returns the first error of writing.
func (w *Writer) Close() error {
	w.Flush()
	close(w.chunks)
	return <-w.done
}

// Locked lets several goroutines write whole records.
type Locked struct {
	mutex  sync.Mutex
	writer *Writer
}

// NewLocked wraps a writer.
func NewLocked(w *Writer) *Locked { return &Locked{writer: w} }

// Do runs a function that writes one or more records.
func (l *Locked) Do(write func(*Writer)) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	write(l.writer)
}
