// Package kube is the little of the Kubernetes API that the node agent speaks: JSON over HTTP/1.1 with the
// connection settings of client-go/rest. A typed clientset would register every API group and cost more memory
// than the rest of the agent together.
package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"golang.org/x/sys/unix"
)

const (
	// RetryInterval is the pause after a failed request. The kubelet backs off for longer; here a short, constant
	// pause keeps the lab's own delay out of what is measured after an API server outage.
	RetryInterval = 100 * time.Millisecond
	// dialTimeout bounds one TCP connect. A SYN that is lost while a path is cut would be sent again only after
	// 1, 3, 7 s (RFC 6298), so a fresh connect after a short time finds the repaired path sooner.
	dialTimeout = 300 * time.Millisecond
	// requestTimeout bounds everything but watches; the kubelet's Lease requests use 10 s as well.
	requestTimeout = 10 * time.Second
	// deadPathTimeout is after how long without an acknowledgement a connection counts as dead.
	deadPathTimeout = 5 * time.Second
)

// Content types of PATCH requests.
const (
	MergePatch          = "application/merge-patch+json"           // RFC 7386
	StrategicMergePatch = "application/strategic-merge-patch+json" // built-in kinds only: lists merge by key
)

// Client sends requests to one API server.
type Client struct {
	base string
	http *http.Client
}

// New reads a kubeconfig file and prepares the connection it describes; it does not connect.
func New(kubeconfig string) (*Client, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", kubeconfig, err)
	}
	return NewForConfig(config)
}

// NewForConfig makes a client of a prepared configuration.
func NewForConfig(config *rest.Config) (*Client, error) {
	config = rest.CopyConfig(config)
	dialer := &net.Dialer{
		Timeout:         dialTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3},
		Control: func(_, _ string, conn syscall.RawConn) error {
			var failure error
			err := conn.Control(func(fd uintptr) {
				failure = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadPathTimeout.Milliseconds()))
			})
			return errors.Join(err, failure)
		},
	}
	config.Dial = dialer.DialContext
	// The API server is inside the lab: a proxy meant for the outside world must not get in between.
	config.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	// HTTP/1.1: a watch has a connection of its own, which the kernel's keepalive watches.
	config.NextProtos = []string{"http/1.1"}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, err
	}
	return &Client{base: strings.TrimSuffix(base.String(), "/"), http: client}, nil
}

// Get reads the object at path into out.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.do(ctx, http.MethodGet, path, "", nil, out)
}

// Create posts in to the collection at path and reads the answer into out (may be nil).
func (c *Client) Create(ctx context.Context, path string, in, out any) error {
	return c.do(ctx, http.MethodPost, path, "application/json", in, out)
}

// Update puts in at path.
func (c *Client) Update(ctx context.Context, path string, in any) error {
	return c.do(ctx, http.MethodPut, path, "application/json", in, nil)
}

// Patch sends patch, of the given content type, to path and reads the patched object into out (may be nil).
func (c *Client) Patch(ctx context.Context, path, contentType string, patch, out any) error {
	return c.do(ctx, http.MethodPatch, path, contentType, patch, out)
}

// Delete deletes the object at path.
func (c *Client) Delete(ctx context.Context, path string, options metav1.DeleteOptions) error {
	return c.do(ctx, http.MethodDelete, path, "application/json", options, nil)
}

func (c *Client) do(ctx context.Context, method, path, contentType string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	request.Header.Set("Accept", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		return readFailure(response)
	}
	if out != nil {
		if err := json.NewDecoder(response.Body).Decode(out); err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
	}
	// A body read to its end lets the connection be used again.
	_, err = io.Copy(io.Discard, response.Body)
	return err
}
