package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Action is one probe attempt; nil is success.
type Action func(ctx context.Context) error

// NewAction makes the attempt that a container's readiness probe describes, against the pod's address. It is nil for
// an exec or grpc probe, which cannot be run: there is no container.
func NewAction(container *v1.Container, podIP string) (Action, error) {
	probe := container.ReadinessProbe
	switch {
	case probe.HTTPGet != nil:
		port, err := resolvePort(container, probe.HTTPGet.Port)
		if err != nil {
			return nil, err
		}
		return httpGet(probe.HTTPGet, podIP, port), nil
	case probe.TCPSocket != nil:
		port, err := resolvePort(container, probe.TCPSocket.Port)
		if err != nil {
			return nil, err
		}
		address := net.JoinHostPort(hostOr(probe.TCPSocket.Host, podIP), strconv.Itoa(port))
		return func(ctx context.Context) error { return tcpConnect(ctx, address) }, nil
	}
	return nil, nil
}

// resolvePort looks a named port up among the container's.
func resolvePort(container *v1.Container, port intstr.IntOrString) (int, error) {
	if port.Type == intstr.Int {
		return port.IntValue(), nil
	}
	for _, declared := range container.Ports {
		if declared.Name == port.StrVal {
			return int(declared.ContainerPort), nil
		}
	}
	if number, err := strconv.Atoi(port.StrVal); err == nil {
		return number, nil
	}
	return 0, fmt.Errorf("container %s has no port named %q", container.Name, port.StrVal)
}

func hostOr(host, otherwise string) string {
	if host == "" {
		return otherwise
	}
	return host
}

func tcpConnect(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// httpGet is the kubelet's HTTP probe: a connection of its own, certificates unchecked, 200 to 399 is success.
func httpGet(get *v1.HTTPGetAction, podIP string, port int) Action {
	path := get.Path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	scheme := strings.ToLower(string(get.Scheme))
	if scheme == "" {
		scheme = "http"
	}
	url := scheme + "://" + net.JoinHostPort(hostOr(get.Host, podIP), strconv.Itoa(port)) + path
	client := &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true, Proxy: nil, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
			TLSHandshakeTimeout: 10 * time.Second,
		},
		// The kubelet follows redirects on the same host only; a redirect is a success to it in any case.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		request.Header.Set("User-Agent", "kube-probe/1.34")
		for _, header := range get.HTTPHeaders {
			request.Header.Add(header.Name, header.Value)
			if strings.EqualFold(header.Name, "Host") {
				request.Host = header.Value
			}
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 10<<10)) // what the kubelet reads at most
		if response.StatusCode < 200 || response.StatusCode >= 400 {
			return fmt.Errorf("HTTP probe failed with statuscode: %d", response.StatusCode)
		}
		return nil
	}
}
