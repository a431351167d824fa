package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// Handler receives what Follow learns, always from one goroutine.
type Handler[T any] struct {
	Replace func(items []T)                      // the whole selection, after a list
	Change  func(kind watch.EventType, object T) // Added, Modified or Deleted
}

// Follow lists and then watches the collection at path, restricted to a field selector, until ctx ends. When the
// watch ends, for whatever reason, it lists anew: at once after an orderly end, every RetryInterval after a failure.
func Follow[T any](ctx context.Context, c *Client, path, fieldSelector string, handler Handler[T]) {
	var failures failures
	for ctx.Err() == nil {
		err := followOnce(ctx, c, path, fieldSelector, handler, func() {
			if failures.end() {
				slog.Info("watching again", "path", path)
			}
		})
		if err == nil || ctx.Err() != nil {
			continue
		}
		if failures.isNew(err) {
			slog.Warn("watch lost", "path", path, "error", err)
		}
		Pause(ctx, RetryInterval)
	}
}

func followOnce[T any](ctx context.Context, c *Client, path, fieldSelector string, handler Handler[T], listed func()) error {
	query := url.Values{"fieldSelector": {fieldSelector}}
	var list struct {
		Metadata metav1.ListMeta `json:"metadata"`
		Items    []T             `json:"items"`
	}
	if err := c.Get(ctx, path+"?"+query.Encode(), &list); err != nil {
		return err
	}
	listed()
	handler.Replace(list.Items)

	query.Set("watch", "true")
	query.Set("resourceVersion", list.Metadata.ResourceVersion)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return readFailure(response)
	}
	return readEvents(response.Body, handler.Change)
}

// readEvents hands on the events of a watch until it ends; nil is an orderly end.
func readEvents[T any](stream io.Reader, change func(watch.EventType, T)) error {
	decoder := json.NewDecoder(stream)
	for {
		var event struct {
			Type   watch.EventType `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		if err := decoder.Decode(&event); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		switch event.Type {
		case watch.Added, watch.Modified, watch.Deleted:
			var object T
			if err := json.Unmarshal(event.Object, &object); err != nil {
				return err
			}
			change(event.Type, object)
		case watch.Error: // mostly 410 Gone: the resourceVersion is too old, so list again
			return fmt.Errorf("watch: %s", event.Object)
		}
	}
}
